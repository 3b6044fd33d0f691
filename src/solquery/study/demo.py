"""The demo: a small plan of `reproduce` on an archive made on the spot, and its summary as one JSON document."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable
from pathlib import Path

from ..aliases import Document, Entries
from ..errors import SolqueryError
from ..io import write_atomically
from ..model import Model
from ..serialise import with_old_names
from .reproduce import DEMO, reproduce
from .reproduce_training import simulated_archive

__all__ = ["DESCRIPTION", "run_demo"]

Progress = Callable[[str, float], None]

DESCRIPTION = DEMO.description
#: share of the progress that making the archive takes
_ARCHIVE = 0.4
#: size of the archive that lies in ``archive``; one of another size has its size in its name
_SIZE = (110, 20)


def run_demo(
    out: str | Path,
    queries: int = 1_000,
    progress: Progress | None = None,
    model: Model | None = None,
    regions: int = 110,
    frames: int = 20,
) -> Document:
    """Run the whole chain and write ``report.html``, ``results.json`` and ``summary.json`` into `out`.

    Parameters
    ----------
    out
        Folder; made if need be. The archive and the finished stages are kept in it and used again.
    queries
        How many random queries the study of retrieval draws.
    progress
        Called with a text and the fraction done.
    model
        None for the one that ships with the package.
    regions, frames
        Size of the simulated archive; the real samples of the package are added.

    Returns
    -------
    What ``summary.json`` holds.

    Raises
    ------
    SolqueryError
        When the model lacks what the demo needs, or the archive cannot be written.
    """
    out, began = Path(out), time.monotonic()
    tell = progress or (lambda text, fraction: None)
    model = model or Model.load()
    if model.directions is None:
        raise SolqueryError(f"model {model.name!r} has no directions, the demo needs them; run `solquery directions`")
    folder = out / ("archive" if (regions, frames) == _SIZE else f"archive-{regions}x{frames}")
    archive = simulated_archive(folder, regions, frames, lambda text, done: tell(text, _ARCHIVE * min(done, 1.0)))
    made = time.monotonic() - began
    results = reproduce(
        archive, model, out, dataclasses.replace(DEMO, queries=queries),
        progress=lambda text, done: tell(text, _ARCHIVE + (1.0 - _ARCHIVE) * done),
    )  # fmt: skip
    timings = {"archive": made, **results["seconds"]}
    summary = _summary(results) | {
        "timings": {name: round(value, 2) for name, value in timings.items()},
        "seconds": round(time.monotonic() - began, 2),
        "report": str(out / "report.html"),
    }
    write_atomically(out / "summary.json", json.dumps(summary, indent=1, allow_nan=False) + "\n")
    return summary


def _summary(results: Entries) -> Document:
    """What was asked, found and measured, of what `reproduce` returns."""
    stages, archive = results["stages"], results["archive"]
    asked, seen, sources = stages["described"], stages["observed"], archive["sources"]
    query = ("description", "requested", "measured", "verdict", "z_norm")
    real = ("id", "region", "quantity", "source", "mse", "z_norm", "finds_itself", "matches", "edited_matches")
    found: Document = with_old_names(
        {
            "archive": {
                "patches": archive["patches"],
                "regions": archive["regions"],
                "simulated": sources.get("simulated", 0),
                "real": sources.get("real", 0),
                "simulated_regions": archive["simulated_regions"],
            },
            "model": {key: results["model"][key] for key in ("name", "preset", "hash")},
            "query": {key: asked[key] for key in query},
            "strips": [
                {
                    "parameter": strip["name"],
                    "held": strip["hold"],
                    "steps": strip["eps"],
                    "values": strip["values"],
                    "effect_on_random_latents": strip["effect"],
                }
                for strip in stages["figure5"]["strips"]
            ],
            "matches": asked["matches"],
            "real_query": {key: seen[key] for key in real}
            | {
                "parameters": seen["original"]["parameters"],
                "reconstructed": seen["reconstructed"]["parameters"],
                "edited": {key: seen["edited"][key] for key in ("step", "parameters")},
            },
            "retrieval": stages["queries"],
            "warnings": results["warnings"],
        }
    )
    return found
