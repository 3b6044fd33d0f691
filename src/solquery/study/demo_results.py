"""Sections of the demo's report on what was searched: by a generated patch, by a real one, by random queries."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from ..physics import get_parameter, plugin_names
from ..steering.vocabulary import measured_names, with_derived
from .demo_wording import RELATIONS, SHOWN, gauss, heading, kind_of, on_grid, picture_of, symbol, text_of
from .figures import METHOD_LABELS, figure_correlations, figure_joint, figure_patch
from .report import Picture, badge, figure, parameter_text, row_of_tiles, section, table, wide
from .retrieval import METHODS, PAPER, PARAMETERS

if TYPE_CHECKING:
    from .demo import Findings

__all__ = ["queries_section", "real_section", "search_section"]

#: queries shown beside what each method found for them
_ROWS = 5


def _columns_text(f: Findings) -> str:
    if f.physical:
        assert f.model.preset.scale_mm is not None
        scale = f.model.preset.scale_mm[0]
        return (
            f"<p>All columns but the last two are measured on the grid of {scale:.2f} Mm per pixel, where generated "
            "and archived patches can be compared. The last two are measured on the observation itself: more flux, as "
            "opposite polarities that share one coarse pixel cancel on the grid, and all that lies beyond its edge.</p>"
        )
    return (
        "<p>All columns but the last two are measured on the stretched grid, where generated and archived patches can "
        "be compared: fluxes in G pix, lengths in pixels. Only archived patches have a scale, so only they have "
        "maxwells and megametres.</p>"
    )


def search_section(f: Findings) -> str:
    """The ten matches of the patch that was asked for."""
    answer = f.answers[0]
    names = list(dict.fromkeys([*answer.targets, "tuf", "r", "psep", "polarity"]))
    tiles = [Picture(gauss(f, answer.x), "generated", "Query", answer.measured, physical=f.physical)]
    tiles += [picture_of(f, match) for match in f.matches]
    asked = {name: RELATIONS[t.relation] + text_of(name, t.value, f.physical) for name, t in answer.targets.items()}
    rows = [
        ["Asked", "", "", *(escape(asked.get(name, "–")) for name in names), "", ""],
        [
            "Generated",
            badge("generated"),
            "",
            *(escape(text_of(name, answer.measured[name], f.physical)) for name in names),
            "",
            "",
        ],
    ]
    for match in f.matches:
        measured = on_grid(match)
        needed = {name: np.array([measured.get(name, np.nan)]) for name in measured_names(names)}
        values = {name: float(value[0]) for name, value in with_derived(needed, names).items()}
        rows.append(
            [
                f"{match.rank}. {escape(match.region)}",
                badge(kind_of(match)),
                f"{match.distance:.3g}",
                *(escape(text_of(name, values[name], f.physical)) for name in names),
                escape(parameter_text("tuf", match.row.get("tuf"), physical=True)),
                escape(parameter_text("psep", match.row.get("psep"), physical=True)),
            ]
        )
    native = ["native TUF", "native PSEP"]
    head = ["Patch", "Source", "Distance", *(heading(name) for name in names), *native]
    best = f.archive.get(f.matches[0].id)
    clipped = f.matches[0].row.get("clipped_fraction") or 0.0
    plate = figure(
        figure_patch(best.field, best.source, f"{best.region}, the best match at native scale", best.scale_mm),
        "the best match at its native scale, in megametres",
        f"{escape(best.id)}, {escape(best.t_rec)}; {100 * clipped:.1f} % of its pixels exceed 1000 G.",
        width="small",
    )
    return section(
        4,
        "Finding its likes",
        "<p>The generated patch is embedded, and the nearest patches of the archive in the space of embeddings are its "
        f"matches: the best frame of each of {len(f.matches)} different regions. The embedding was trained to ignore a "
        "small shift, zoom, rotation and a vertical flip; "
        + (
            "some of its numbers were taught to follow what a patch measures.</p>"
            if f.model.preset.encoder.physics
            else "it has never been told a physical parameter.</p>"
        ),
        row_of_tiles(tiles),
        _columns_text(f),
        table(head, rows),
        plate,
    )


def real_section(f: Findings) -> str:
    """The real region, its reconstruction, its flux raised, and what both find."""
    real, inversion, rising = f.real, f.inversion, f.rising
    assert real is not None and inversion is not None and rising is not None and f.real_x is not None
    again, edited = f.values(inversion.x), f.values(rising.x[f.edited, 0])
    los = real.quantity == "line-of-sight"
    seen = (real.quantity.replace("-", " "),)
    original = Picture(gauss(f, f.real_x), real.source, f"{real.region}, original", f.real_values, seen, f.physical)
    title = f"Flux raised, {rising.eps[f.edited]:+.2f} σ"
    raised = Picture(gauss(f, rising.x[f.edited, 0]), "generated", title, edited, physical=f.physical)
    tiles = [
        original,
        Picture(gauss(f, inversion.x), "generated", "Reconstruction", again, physical=f.physical),
        raised,
    ]
    columns = (*SHOWN, "sigma", "alpha", "grad", *(name for name in plugin_names() if name in f.real_values))
    power = max(float(np.mean(np.square(f.real_x))), 1e-12)
    rows = [
        [label, badge(kind), *(escape(parameter_text(name, values[name], f.physical)) for name in columns)]
        for label, kind, values in (
            (f"{escape(real.region)}, original", real.source, f.real_values),
            ("Reconstruction", "generated", again),
            ("Flux raised", "generated", edited),
        )
    ]
    head = ["Patch", "Source", *(heading(name) for name in columns)]
    steps = sorted({*np.linspace(0, len(rising.eps) - 1, 5).astype(int).tolist(), f.edited})
    frames = [
        Picture(
            gauss(f, rising.x[k, 0]), "generated", f"{rising.eps[k]:+.2f} σ" if rising.eps[k] else "0",
            {name: float(rising.values[name][k]) for name in SHOWN}, physical=f.physical,
        )
        for k in steps
    ]  # fmt: skip
    itself = (
        "the first answer is the region itself, as it must be"
        if f.finds_itself
        else ("<strong>the first answer is not the region itself</strong>")
    )
    native = figure(
        figure_patch(real.field, real.source, f"{real.region}, {real.t_rec}", real.scale_mm),
        "the real region at native scale",
        escape(real.credit or "SDO/HMI") + (". Line-of-sight field." if los else ""),
        width="small",
    )
    known = real.region in f.model.metadata["provenance"].get("real_regions", [])
    worth = (
        "It is unlike most of what the networks were trained on: they saw mainly simulated radial fields, this is a "
        "line-of-sight magnetogram of the Sun."
        if los
        else "The networks were trained mainly on simulated regions."
    )
    return section(
        5,
        "A real region, reconstructed and changed",
        f"<p>{escape(real.region)} as SDO/HMI saw it. Adam, from several starts, looks for the latent vector whose "
        f"patch comes closest: mean squared error {inversion.mse:.4f} in units of (1000 G)², "
        f"{100 * inversion.mse / power:.0f} % of the patch's own mean square; |z| = {inversion.z_norm:.1f}, where "
        f"{np.sqrt(len(inversion.z)):.0f} is typical. {worth}"
        + (" It was itself among the few real patches of the training." if known else "")
        + "</p>",
        native,
        row_of_tiles(tiles),
        table(head, rows),
        "<h3>Raising its flux</h3><p>Along TUF from the reconstruction. The step whose flux is nearest to one and a "
        "half times that of the reconstruction serves as the edited query.</p>",
        row_of_tiles(frames, strip=True),
        f"<h3>What the original finds</h3><p>Searched without any restriction, {itself}. Below, its own region is left "
        "out.</p>",
        row_of_tiles([original, *(picture_of(f, match) for match in f.real_matches)]),
        "<h3>What the edited region finds</h3>",
        row_of_tiles([raised, *(picture_of(f, match) for match in f.edited_matches)]),
    )


def queries_section(f: Findings) -> str:
    """Correlations of random queries with their best matches, by every method."""
    study = f.retrieval
    assert study is not None
    found = study.correlations()

    def pair(values: Mapping[str, float]) -> str:
        return f"{values['pearson']:.2f} / {values['spearman']:.2f}".replace("-", "−").replace("nan", "–")

    rows = [
        [
            f"{symbol(name)}<br><span class=meta>{escape(get_parameter(name).title)}</span>",
            *(pair(found[method][name]) for method in METHODS),
            f"{PAPER[name][0]:.2f} / {PAPER[name][1]:.2f}",
            found["ssl"][name]["dropped"],
        ]
        for name in PARAMETERS
    ]
    head = ["Parameter", *(METHOD_LABELS[method] for method in METHODS), "Paper, self-supervised", "Pairs dropped"]
    joints = [
        figure(
            figure_joint(
                name,
                study.queries[name],
                study.matched("ssl", name),
                study.population[name],
                found["ssl"][name],
                physical=f.physical,
            ),
            f"density of {name} in queries and matches",
        )
        for name in PARAMETERS
    ]
    shown = range(min(_ROWS, len(study.x)))
    rows_of = {method: study.best[method][: len(shown)] for method in METHODS}
    f.fetch([str(study.ids[row]) for found_rows in rows_of.values() for row in found_rows if row >= 0])
    comparison = []
    for k in shown:
        values = {name: float(study.queries[name][k]) for name in SHOWN[:3]}
        tiles = [Picture(gauss(f, study.x[k]), "generated", f"Query {k + 1}", values, physical=f.physical)]
        for method in METHODS:
            row = int(rows_of[method][k])
            if row >= 0:
                values = {name: float(study.population[name][row]) for name in SHOWN[:3]}
                title = METHOD_LABELS[method].split(" (")[0]
                lines = (str(study.regions[row]),)
                tiles.append(
                    Picture(f.gauss(str(study.ids[row])), str(study.sources[row]), title, values, lines, f.physical)
                )
        comparison.append(row_of_tiles(tiles, strip=True))
    alike = study.likeness
    summary = study.summary()
    likeness_text = ", ".join(f"{METHOD_LABELS[m].split(' (')[0]} {alike[m]:.2f}" for m in METHODS)
    return section(
        6,
        f"{len(study.x):,} random queries",
        f"<p>{len(study.x):,} patches from random latent vectors, and for each its best match among all "
        f"{f.counts['patches']:,} patches of the archive. The table gives the correlation (Pearson / Spearman) "
        "between query and match, measured on the grid for both. Euclidean and Mahalanobis search by the three numbers "
        "(TUF, R, PSEP), so they have the advantage on those three; "
        + (
            "the embedding of a query is made from its picture alone, by a network taught these parameters. "
            if f.model.preset.encoder.physics
            else "the embedding was not told any of them. "
        )
        + "Hybrid ranks by the embedding, all eight parameters and which polarity leads. The "
        "paper's values are for generated queries against 49,552 <em>observed</em> patches: a different archive, to be "
        "read beside these numbers and not as their target. With 1,000 queries a correlation is uncertain by 0.01 to "
        "0.03. Pairs in which a parameter does not exist on one side (PSEP where a polarity is missing) are "
        "dropped.</p>",
        table(head, rows),
        figure(
            figure_correlations(found, PAPER),
            "correlations by parameter and method beside the paper's",
            width="single",
        ),
        f"<p>The {len(study.x):,} queries share {summary['distinct_matches']:,} different best matches, "
        f"{summary['real_matches']} of the queries found a real patch.</p>"
        "<h3>Query and best match, self-supervised</h3><p>Blue: queries, pink: matches, black outline: the whole "
        "archive. The dashed line is equality.</p>",
        wide(joints),
        f"<h3>Beside the baselines</h3><p>The first {len(shown)} queries, not chosen. Equal numbers do not make equal "
        "pictures: many arrangements share one (TUF, R, PSEP). A likeness that knows neither parameters nor networks, "
        "the best correlation of two patches over small shifts, zooms, rotations and flips, averages over the first "
        f"{study.judged} queries: {escape(likeness_text)}; patches drawn blindly {alike['random']:.2f}.</p>",
        *comparison,
    )
