"""What the paper does beyond its figures: a region described in words and found, and an observed one changed.

Stages like those of `reproduce_experiments`; the demo is made of them.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..aliases import Document
from ..encoder import embed_archive
from ..errors import SolqueryError
from ..physics import parameters, unit_of
from ..search import Match, SearchSession
from ..serialise import plain
from ..steering import generate, invert, latent_traversal
from ..steering.vocabulary import measured_names, quantities, with_derived
from .figures import figure_patch, figure_zoo, tile_png
from .reproduce_figures import write_figure
from .reproduce_stages import Folders

if TYPE_CHECKING:
    from .reproduce import Study

__all__ = ["described", "embedded", "observed", "sample"]

#: answers shown for one description, and patches of the archive shown, of which so many observed
_ANSWERS, _SAMPLE, _SAMPLE_REAL = 4, 36, 6
#: of the search for an observation's latent: fewer than the defaults, to keep it short
_STARTS, _STEPS = 6, 150
#: by how much the observed region's flux is to rise
_RISE = 1.5


def embedded(study: Study, share: float = 1.0) -> None:
    """Embed what has no embedding yet, as the first `share` of a stage."""
    embed_archive(
        study.archive, study.model,
        lambda k, n: study.progress(f"embedding the archive: {k} of {n} patches", share * k / max(n, 1)),
    )  # fmt: skip


def sample(study: Study, folder: Path, before: Folders) -> Document:
    """A random frame of each of some regions of the archive, of which some are observed."""
    rng = np.random.default_rng(1)
    chosen: list[Document] = []
    table = study.archive.table(["id", "region", "source"]).to_pylist()
    for source, count in (("real", _SAMPLE_REAL), ("simulated", _SAMPLE), ("real", _SAMPLE)):
        by_region: dict[str, list[Document]] = {}
        for row in table:
            if row["source"] == source and row not in chosen:
                by_region.setdefault(row["region"], []).append(row)
        for name in rng.permutation(list(by_region))[: min(count, _SAMPLE - len(chosen))]:
            chosen.append(by_region[str(name)][rng.integers(len(by_region[str(name)]))])
    chosen = [chosen[k] for k in rng.permutation(len(chosen))]
    shown = study.pictures([row["id"] for row in chosen])
    title = f"a random frame of each of {len(chosen)} regions of the archive"
    fields, kinds = np.stack([shown[row["id"]] for row in chosen]), [row["source"] for row in chosen]
    drawn = figure_zoo(fields, kinds, title, columns=9, width=7.8)
    return {"file": write_figure(drawn, folder / "archive.png", 110, 64), "patches": len(chosen)}


def _record(study: Study, folder: Path, match: Match, gauss: np.ndarray) -> Document:
    """A match with its parameters at native scale, and on the grid that the query is on; its picture in `folder`."""
    row, physical = match.row, study.model.preset.physical
    grid = {name: row[f"grid_{name}"] for name in parameters() if row.get(f"grid_{name}") is not None}
    return {
        "id": match.id,
        "region": match.region,
        "distance": match.distance,
        "rank": match.rank,
        "source": row.get("source"),
        "quantity": row.get("quantity"),
        "parameters": {n: {"value": row[n], "unit": unit_of(n, True)} for n in parameters() if n in row},
        "grid_parameters": quantities(grid, physical),
        "file": _tile(folder, match.id, gauss),
    }


def _tile(folder: Path, name: str, gauss: np.ndarray) -> str:
    file = folder / f"{''.join(c if c.isalnum() else '-' for c in name)}.png"
    file.write_bytes(tile_png(gauss))
    return file.name


def _matches(study: Study, folder: Path, matches: list[Match]) -> list[Document]:
    shown = study.pictures([match.id for match in matches])
    return [_record(study, folder, match, shown[match.id]) for match in matches]


def _image(study: Study, folder: Path, name: str, x: np.ndarray) -> Document:
    """Picture and parameters of one image (H, W) in preset units."""
    measured = {key: float(value[0]) for key, value in study.model.measure(x).items()}
    physical = study.model.preset.physical
    return {"file": _tile(folder, name, study.gauss(x)), "parameters": quantities(measured, physical)}


def described(study: Study, folder: Path, before: Folders) -> Document:
    """A region asked for in words, and what its nearest answer finds in the archive."""
    embedded(study, 0.8)
    preset, physical = study.model.preset, study.model.preset.physical
    answers = generate(study.model, study.plan.description, _ANSWERS, seed=study.plan.seed)
    best = answers[0]
    matches = SearchSession(study.archive, study.model).search(best, k=10)
    names = list(dict.fromkeys([*best.targets, "tuf", "r", "psep", "polarity"]))
    records = _matches(study, folder, matches)
    for record in records:
        grid = {name: value["value"] for name, value in record["grid_parameters"].items()}
        needed = {name: np.array([np.nan if (v := grid.get(name)) is None else v]) for name in measured_names(names)}
        record["compared"] = {name: float(v[0]) for name, v in with_derived(needed, names).items()}
    drawn = figure_patch(study.gauss(best.x), "generated", "the answer, and the query below", preset.scale_mm)
    nearest = matches.patches()[0]
    title = f"{nearest.region}, the best match at native scale"
    plate = figure_patch(nearest.field, nearest.source, title, nearest.scale_mm)
    document = {
        "description": study.plan.description,
        "requested": {
            name: {**quantities({name: t.value}, physical)[name], "relation": t.relation, "word": t.word}
            for name, t in best.targets.items()
        },
        "measured": quantities(best.measured, physical),
        "verdict": best.verdict,
        "z_norm": best.z_norm,
        "latent_dim": len(best.z),
        "compared": names,
        "answers": [
            {**_image(study, folder, f"answer-{k}", one.x), "verdict": one.verdict} for k, one in enumerate(answers)
        ],
        "matches": records,
        "answer_file": write_figure(drawn, folder / "answer.png", 120, 96),
        "match_file": write_figure(plate, folder / "match.png", 120, 96),
        "match_about": f"{nearest.id}, {nearest.t_rec}",
    }
    return _plain(document)


def observed(study: Study, folder: Path, before: Folders) -> Document:
    """An observed region inverted, its flux raised, and what the two find when its own region is left out."""
    embedded(study, 0.1)
    rows = study.archive.table(["id", "region", "harpnum"], "source = 'real'").to_pylist()
    if not rows:
        raise SolqueryError("the archive holds no observed patch to change; add some with `solquery ingest`")
    row = next((row for row in rows if row["harpnum"] == study.plan.harp), rows[0])
    patch, model = study.archive.get(row["id"]), study.model
    x = study.archive.prepared(model.preset, ids=[patch.id])[1][0]
    study.progress("finding the latent vector of the observed region", 0.1)
    found = invert(model, x, _STARTS, _STEPS, seed=4)[0]
    rising = latent_traversal(model, found.z, "tuf", eps_values=np.linspace(0.0, 4.0, 17))
    flux = rising.values["tuf"]
    edited = int(np.argmin(np.abs(flux - _RISE * flux[0])))
    study.progress("searching with the observed and the changed region", 0.8)
    session, own = SearchSession(study.archive, model), patch.region
    # what was drawn is in no archive, and is not looked for pixel by pixel
    changed = session.search(rising.x[edited, 0], k=5, exclude_region=own, rerank=0)
    steps = sorted({*np.linspace(0, len(rising.eps) - 1, 5).astype(int).tolist(), edited})
    title = f"{patch.region}, {patch.t_rec}"
    native = figure_patch(patch.field, patch.source, title, patch.scale_mm)
    document = {
        "id": patch.id,
        "region": patch.region,
        "quantity": patch.quantity,
        "source": patch.source,
        "credit": patch.credit,
        "mse": found.mse,
        "unexplained": found.unexplained,
        "z_norm": found.z_norm,
        "latent_dim": len(found.z),
        "trained_on": patch.region in model.metadata["provenance"].get("real_regions", []),
        "original": _image(study, folder, "original", x),
        "reconstructed": _image(study, folder, "reconstruction", found.x),
        "edited": {"step": rising.eps[edited], **_image(study, folder, "edited", rising.x[edited, 0])},
        "steps": [{"step": rising.eps[k], **_image(study, folder, f"step-{k}", rising.x[k, 0])} for k in steps],
        "finds_itself": session.search(x, k=1)[0].id == patch.id,
        "matches": _matches(study, folder, session.search(x, k=5, exclude_region=own)),
        "edited_matches": _matches(study, folder, changed),
        "native_file": write_figure(native, folder / "native.png", 120, 96),
    }
    return _plain(document)


def _plain(document: object) -> Document:
    """As JSON can hold it."""
    out: Document = plain(document)
    return out
