"""What the demo found, as plain JSON."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..physics import parameters, unit_of
from ..search import Match
from ..serialise import plain, with_old_names
from ..steering.vocabulary import unit_of_target

if TYPE_CHECKING:
    from .demo import Findings

__all__ = ["summarise"]


def _with_units(values: Mapping[str, float], physical: bool) -> dict[str, dict[str, Any]]:
    return {name: {"value": float(value), "unit": unit_of_target(name, physical)} for name, value in values.items()}


def _match_record(match: Match, physical: bool) -> dict[str, Any]:
    """A match with its parameters at native scale, and on the grid that the query is on."""
    known = [name for name in parameters() if name in match.row]
    grid = {name: match.row[f"grid_{name}"] for name in parameters() if match.row.get(f"grid_{name}") is not None}
    return {
        "id": match.id,
        "region": match.region,
        "distance": match.distance,
        "rank": match.rank,
        "source": match.row.get("source"),
        "quantity": match.row.get("quantity"),
        "parameters": {name: {"value": match.row[name], "unit": unit_of(name, physical=True)} for name in known},
        "grid_parameters": _with_units(grid, physical),
    }


def summarise(f: Findings, report: Path, seconds: float) -> dict[str, Any]:
    """What ``summary.json`` holds."""
    answer, inversion, rising, real, study = f.answers[0], f.inversion, f.rising, f.real, f.retrieval
    assert inversion and rising and real and study
    return with_old_names(
        plain(
            {
                "archive": f.counts,
                "model": {"name": f.model.name, "preset": f.model.preset.name, "hash": f.model.hash},
                "query": {
                    "description": f.description,
                    "requested": {
                        name: {**_with_units({name: t.value}, f.physical)[name], "relation": t.relation, "word": t.word}
                        for name, t in answer.targets.items()
                    },
                    "measured": _with_units(answer.measured, f.physical),
                    "verdict": answer.verdict,
                    "z_norm": answer.z_norm,
                },
                "strips": [
                    {
                        "parameter": s.name,
                        "held": list(s.hold),
                        "steps": s.eps.tolist(),
                        "values": {name: s.values[name].tolist() for name in ("tuf", "r", "psep", "polarity")},
                        "effect_on_random_latents": effect,
                    }
                    for s, effect in zip(f.strips, f.effects, strict=True)
                ],
                "matches": [_match_record(match, f.physical) for match in f.matches],
                "real_query": {
                    "id": real.id,
                    "region": real.region,
                    "quantity": real.quantity,
                    "source": real.source,
                    "mse": inversion.mse,
                    "z_norm": inversion.z_norm,
                    "parameters": _with_units(f.real_values, f.physical),
                    "reconstructed": _with_units(f.values(inversion.x), f.physical),
                    "edited": {
                        "step": rising.eps[f.edited],
                        "parameters": _with_units(f.values(rising.x[f.edited, 0]), f.physical),
                    },
                    "finds_itself": f.finds_itself,
                    "matches": [_match_record(match, f.physical) for match in f.real_matches],
                    "edited_matches": [_match_record(match, f.physical) for match in f.edited_matches],
                },
                "retrieval": study.summary(),
                "warnings": f.warnings,
                "timings": {name: round(value, 2) for name, value in f.timings.items()},
                "seconds": round(seconds, 2),
                "report": str(report),
            }
        )
    )
