"""The text of the demo's report, around what `demo` found."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import numpy as np

from ..steering.vocabulary import vocabulary
from .demo_results import queries_section, real_section, search_section
from .demo_wording import RELATIONS, SHOWN, gauss, symbol, text_of
from .figures import figure_patch, figure_zoo
from .report import Picture, badge, caption_of, figure, page, parameter_text, row_of_tiles, section, table, wide
from .retrieval import PARAMETERS

if TYPE_CHECKING:
    from ..config import Preset
    from .demo import Findings

__all__ = ["render_report"]


def _version() -> str:
    try:
        return version("solquery")
    except PackageNotFoundError:
        return "from source"


def _header(f: Findings) -> str:
    study = f.retrieval
    assert study is not None
    tuf = study.correlations()["ssl"]["tuf"]
    model = f.model
    facts = [
        (f"{f.counts['patches']:,}", f"patches searched: {f.counts['simulated']:,} simulated, {f.counts['real']} real"),
        (f"{f.counts['regions']:,}", "regions"),
        (f"{len(study.x):,}", "random queries"),
        (
            f"{tuf['pearson']:.2f} / {tuf['spearman']:.2f}".replace("-", "−"),
            "Pearson / Spearman of TUF, query and best match (paper, real archive: 0.78 / 0.79)",
        ),
    ]
    return (
        "<header><h1>Describe an active region, see it, find it</h1>"
        '<p class="lead">A solar active region is asked for by its physics, a generator draws it, and the drawing is '
        "the query that finds its likes in an archive of magnetograms.</p>"
        f'<p class="meta">solquery {escape(_version())} · model “{escape(model.name)}”, preset '
        f"“{escape(model.preset.name)}”{f', {model.hash[:12]}' if model.hash else ''}</p></header>"
        '<div class="facts">' + "".join(f"<div><strong>{a}</strong>{escape(b)}</div>" for a, b in facts) + "</div>"
        '<div class="key"><span>Every picture and every row says where it comes from:</span>'
        f"<span>{badge('real')} observed by SDO/HMI</span><span>{badge('simulated')} made by this package's simulator"
        f"</span><span>{badge('generated')} drawn by the generator</span>"
        '<span>Field: −1000 G <span class="bar"></span> +1000 G (asinh), north up, west right</span></div>'
    )


def _grid_text(preset: Preset) -> str:
    height, width = preset.shape
    if preset.scale_mm is None:
        return (
            f"All patches are stretched to {height} × {width} pixels and clipped at ±{preset.clip_gauss:.0f} G, as in "
            "the paper."
        )
    y, x = preset.scale_mm
    return (
        f"All patches lie on a grid of {height} × {width} pixels of {x:.2f} Mm, a view of {height * y:.0f} × "
        f"{width * x:.0f} Mm about the region; none is stretched, and no field is clipped. Where an observation ends "
        "before the view does, the grid is empty."
    )


def _generator_text(f: Findings) -> str:
    config, preset = f.model.preset.generator, f.model.preset
    size = sum(p.numel() for p in f.model.generator.parameters())
    text = (
        f"<p>The pictures marked {badge('generated')} come from the model “{escape(f.model.name)}”: architecture "
        f"“{escape(config.arch)}”, {size / 1e6:.2f} million weights, {config.latent_dim} latent numbers. "
    )
    if config.arch == "paper":
        text += "It is the paper's architecture, trained with the paper's loss as far as the compute at hand went. "
    else:
        text += (
            "It is <em>not</em> the paper's generator: one that learns faster per second of computing is used instead, "
            "because the paper's, trained for as long as could be afforded here, does not yet draw convincing regions. "
        )
    return (
        text
        + "The archive searched here is simulated but for a few samples, and so is nearly all that the generator and "
        "the encoder were trained on. "
        "The regions of this archive were not among those (the simulator was started from another seed). "
        + _grid_text(preset)
        + "</p>"
    )


def _encoder_text(f: Findings) -> str:
    config = f.model.preset.encoder
    encoder: Any = f.model.encoder
    size = sum(p.numel() for p in encoder.parameters())
    text = (
        f"<p>The embedding that searches comes from a residual network of {size / 1e6:.2f} million weights, trained "
        "without labels to give two changed copies of one patch the same place: shifted, zoomed, rotated, flipped "
        "top to bottom. "
    )
    if config.physics:
        taught = ", ".join(dict.fromkeys(symbol(name) for name in config.physics))
        text += (
            f"{len(config.physics) * config.physics_dims} of its {config.embedding_dim} numbers were taught to follow "
            f"{taught}; a query is embedded by its picture alone. "
        )
    if config.loss == "simsiam":
        return text + "Its loss is SimSiam's, as in the paper.</p>"
    return text + (
        f"Its loss is <em>not</em> the paper's SimSiam but a {escape(config.loss)} one, which learns to tell single "
        "patches apart in far fewer steps.</p>"
    )


def _comparison(f: Findings) -> str:
    """Parameters of generated patches beside those of the archive: what of a generated patch can be believed."""
    study = f.retrieval
    assert study is not None
    rows = []
    for name in PARAMETERS:
        made, kept = (v[np.isfinite(v)] for v in (study.queries[name], study.population[name]))
        cells = []
        for sample in (made, kept):
            low, middle, high = np.percentile(sample, (16, 50, 84)) if len(sample) else [np.nan] * 3
            cells += [
                escape(parameter_text(name, middle, f.physical)),
                escape(f"{text_of(name, low, f.physical)} … {text_of(name, high, f.physical)}"),
            ]
        low, high = np.percentile(kept, (5, 95)) if len(kept) else [np.nan] * 2
        share = f"{100 * np.mean((made >= low) & (made <= high)):.0f} %" if len(made) else "–"
        rows.append([symbol(name), *cells, share])
    head = [
        "Parameter",
        "generated: median",
        "16 … 84 %",
        "archive: median",
        "16 … 84 %",
        "within the archive's 5 … 95 %",
    ]
    return (
        "<h3>Generated patches in numbers</h3><p>The random queries of section 6 beside the whole archive, on the "
        "grid. The last column is the share of generated patches that lie where nine tenths of the archive lie, "
        "90 % if both were distributed alike: where it is far lower, that property of a generated patch is not to be "
        "believed.</p>" + table(head, rows)
    )


def _archive(f: Findings) -> str:
    fields, kinds = f.zoo_archive
    plates = [
        figure(
            figure_zoo(f.zoo[0], f.zoo[1], "36 random patches of the generator"),
            "36 generated magnetograms in a square",
            "Drawn from random latent vectors, not chosen.",
        ),
        figure(
            figure_zoo(fields, kinds, f"a random frame of each of {len(fields)} regions of the archive"),
            "as many magnetograms of the archive in a square",
            "The frame's colour tells simulated from real ones; there are more real ones here than their share.",
        ),
    ]
    parts = [
        f"<p>The archive holds {f.counts['simulated']:,} simulated patches of {f.counts['simulated_regions']} regions, "
        f"each followed while it crosses the disc, and {f.counts['real']} real patches, line-of-sight "
        "magnetograms of SDO/HMI.</p>",
        _generator_text(f),
        _encoder_text(f),
        wide(plates),
    ]
    if f.paper_zoo is not None:
        drawn = figure_zoo(f.paper_zoo, ["generated"] * len(f.paper_zoo), "the generator built to the paper's letter")
        parts.append(
            figure(
                drawn,
                "twelve patches of the paper's generator",
                "For comparison, shown as it is: the paper's own architecture and loss, as far as it was trained here "
                "(model “paper”). It is not used below.",
                width="small",
            )
        )
    parts.append(_comparison(f))
    return section(1, "The archive and the generator", *parts)


def _asked(f: Findings) -> str:
    answer = f.answers[0]
    verdict = (
        "It meets everything that was asked (numbers to within the tolerance of the search)."
        if answer.verdict == "met"
        else "Not everything could be met at once; this is the nearest patch found. The table below says by how much."
    )
    meanings = vocabulary()
    words = ""
    for name, t in answer.targets.items():
        meaning = meanings.get(t.word, symbol(name))
        if name != "polarity":
            meaning += f", that is {symbol(name)} {RELATIONS[t.relation]}{text_of(name, t.value, f.physical)}"
        words += f"<li><em>{escape(t.word or name)}</em>: {escape(meaning)}</li>"
    x = figure(
        figure_patch(gauss(f, answer.x), "generated", "the answer, and the query below", f.model.preset.scale_mm),
        "the generated magnetogram that answers the description",
        " · ".join(escape(line) for line in caption_of(answer.measured, f.physical)),
        width="small",
    )
    others = [
        Picture(
            gauss(f, a.x),
            "generated",
            f"answer {k} ({'met' if a.verdict == 'met' else 'nearest'})",
            a.measured,
            physical=f.physical,
        )
        for k, a in enumerate(f.answers[1:], start=2)
    ]
    rest = "<h3>Other answers to the same words</h3>" + row_of_tiles(others) if others else ""
    return section(
        2,
        "Asked for in words",
        f'<p class="asked">“{escape(f.description)}”</p><p>Percentiles are those of what the generator makes:</p>'
        f"<ul>{words}</ul><p>{verdict} The length of its latent vector is {answer.z_norm:.1f}; "
        f"{np.sqrt(len(answer.z)):.0f} is typical of those the generator was trained on.</p>",
        x,
        rest,
    )


def _change(s: Mapping[str, Any], name: str, physical: bool) -> str:
    first, last = float(s[name][0]), float(s[name][-1])
    return f"{symbol(name)} {parameter_text(name, first, physical)} → {parameter_text(name, last, physical)}"


def _strips(f: Findings) -> str:
    parts = [
        "<p>A latent vector is moved along the direction in which a parameter rises: the normal of a linear support "
        "vector machine that tells high from low values. To hold other parameters, their directions are projected out "
        "first. Steps are in standard deviations of the latent distribution; the middle frame, 0, is the same patch in "
        "every strip. What stands under each frame is measured on it.</p>"
    ]
    for s in f.strips:
        held = " and ".join(symbol(name) if name != "polarity" else "polarity" for name in s.hold)
        title = f"Along {symbol(s.name)}" + (f", {held} held" if held else "")
        frames = [
            Picture(
                gauss(f, s.x[k, 0]),
                "generated",
                f"{eps:+.0f} σ".replace("-", "−") if eps else "0",
                {name: float(s.values[name][k]) for name in SHOWN},
                physical=f.physical,
            )
            for k, eps in enumerate(s.eps)
        ]
        own = np.asarray(s.values[s.name], dtype=float)
        wrong = (
            f". Here {symbol(s.name)} does not rise: its direction is right for most patches, not for every one."
            if np.isfinite(own[[0, -1]]).all() and own[-1] <= own[0]
            else "."
        )
        ends = "; ".join(_change(s.values, name, f.physical) for name in ("tuf", "r", "psep"))
        parts.append(
            f"<h3>{escape(title)}</h3>{row_of_tiles(frames, strip=True)}"
            f'<p class="meta">End to end: {escape(ends + wrong)}</p>'
        )
    rows = []
    directions = f.model.directions
    assert directions is not None
    for s, effect in zip(f.strips, f.effects, strict=True):
        held = ", ".join(symbol(name) if name != "polarity" else name for name in s.hold) or "nothing"
        numbers = [f"{effect[name]:+.2f}".replace("-", "−") for name in ("tuf", "r", "psep")]
        right = float(directions.accuracies[directions.index(s.name)])
        rows.append([symbol(s.name), held, f"{100 * right:.0f} %", *numbers, f"{100 * effect['flips']:.0f} %"])
    head = ["Along", "Held", "accuracy", "change of TUF", "change of R", "change of PSEP", "polarity flips"]
    note = (
        "<h3>Does holding work?</h3><p>One strip proves little. The same steps, from −3 σ to +3 σ, on "
        f"{f.effect_latents} random latents: the median change of each parameter in units of its spread among "
        "generated patches (half of the 84th minus the 16th percentile), and how often the leading polarity changes "
        "sign. Accuracy is that of the direction without anything held, on patches it was not fitted to; guessing "
        "gives 50 %. Holding is a first-order promise, made where the boundaries are flat; what remains is what "
        "you see.</p>"
    )
    return section(3, "Changing one property while holding others", *parts, note, table(head, rows, left=(1,)))


def _grid_limits(preset: Preset) -> str:
    if preset.scale_mm is None:
        return (
            f"<li><strong>No physical size.</strong> Each patch is stretched to {preset.shape[0]} × {preset.shape[1]} "
            "pixels, each axis by its own factor. A generated patch has no maxwells and no megametres; tilts and "
            "separations read off the grid are distorted.</li>"
            f"<li><strong>Clipped at {preset.clip_gauss:.0f} G.</strong> Sunspots saturate: strong regions lose a "
            "fifth or so of their flux before any network sees them.</li>"
        )
    return (
        f"<li><strong>Coarse pixels.</strong> A pixel of {preset.scale_mm[1]:.2f} Mm holds 25 of HMI's. Opposite "
        "polarities within it cancel, noise above all: fluxes on the grid are lower than those of the observation "
        "(docs/physical.md says by how much), and R is that of this grid, not of the paper's.</li>"
        f"<li><strong>A limited view.</strong> What lies beyond {preset.shape[1] * preset.scale_mm[1]:.0f} Mm is "
        "neither seen nor drawn; the largest complexes lose up to a quarter of their flux.</li>"
    )


def _trust(f: Findings) -> str:
    preset = f.model.preset
    raised = "".join(f"<li>{escape(text)}</li>" for text in f.warnings)
    return section(
        7,
        "Where not to trust this",
        '<div class="caution"><ul>'
        "<li><strong>The archive is simulated.</strong> Its regions follow known laws of flux, tilt and dispersal, but "
        "correlations found within it do not carry over to the Sun, and a best match in it is no observation.</li>"
        + _grid_limits(preset)
        + "<li><strong>Line of sight is not radial.</strong> The real samples are line-of-sight magnetograms, the "
        "simulated ones radial fields; away from disc centre the two differ, up to false polarity inversions.</li>"
        "<li><strong>Near the limb</strong> noise and projection rule. The generator draws clean backgrounds whatever "
        "the position, so noisy regions are neither reconstructed nor found well.</li>"
        "<li><strong>Directions are linear.</strong> They hold near the middle of the latent distribution; three "
        "standard deviations out, other properties move too. A latent vector of unusual length gives a patch that the "
        "generator was never trained to draw.</li>"
        "<li><strong>A match is a likeness.</strong> It is the nearest patch of this archive, however far that is: its "
        "distance says little by itself, its agreement with the query is in the tables and not in its rank, and "
        "neither its history nor its flares can be read off the query.</li>"
        "<li><strong>A generated region is a drawing.</strong> Nothing makes its field solve an equation.</li>"
        "</ul></div>",
        f"<h3>Warnings while this report was made</h3><ul>{raised}</ul>" if raised else "",
    )


def _footer(f: Findings) -> str:
    times = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in f.timings.items())
    credits = {f.real.credit} if f.real is not None and f.real.credit else set()
    return (
        f"<footer><p>Time taken: {escape(times)}.</p><p>Observations: courtesy of NASA/SDO and the HMI science team. "
        f"{escape(' '.join(sorted(credits)))}</p></footer>"
    )


def render_report(f: Findings) -> str:
    """The report as one HTML document, pictures inside."""
    return page(
        "Solquery: describe an active region, see it, find it",
        _header(f), _archive(f), _asked(f), _strips(f),
        search_section(f), real_section(f), queries_section(f), _trust(f), _footer(f),
    )  # fmt: skip
