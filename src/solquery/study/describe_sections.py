"""Sections of a report around what was described, found and changed, and on what not to trust."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from ..aliases import Entries
from ..physics import plugin_names, unit_of
from ..steering.vocabulary import unit_of_target, vocabulary
from .report import (
    Picture,
    badge,
    parameter_text,
    plate,
    quantity,
    row_of_tiles,
    section,
    share,
    symbol,
    table,
)  # fmt: skip
from .reproduce_stages import Folders

__all__ = ["credit", "described", "key", "observed", "population", "sample", "trust"]

_RELATIONS = {"=": "", "<=": "at most ", ">=": "at least "}
_SHOWN = ("tuf", "r", "psep", "polarity")


def key() -> str:
    """What the frames and badges mean, and the grey."""
    return (
        '<div class="key"><span>Every picture and every row says where it comes from:</span>'
        f"<span>{badge('real')} observed by SDO/HMI</span><span>{badge('simulated')} made by this package's simulator"
        f"</span><span>{badge('generated')} drawn by the generator</span>"
        '<span>Field: −1000 G <span class="bar"></span> +1000 G (asinh), north up, west right</span></div>'
    )


def credit(results: Entries) -> str:
    """Whom to thank for what was observed."""
    more = results["stages"].get("observed", {}).get("credit") or ""
    return f"Observations: courtesy of NASA/SDO and the HMI science team. {more}".strip()


def _value(name: str, value: float | None, physical: bool) -> str:
    if name in ("imbalance", "tilt_size"):
        return quantity(value, unit_of_target(name), digits=2)
    return parameter_text(name, value, physical)


def _heading(name: str) -> str:
    return "leading" if name == "polarity" else symbol(name)


def _numbers(values: Mapping[str, Entries]) -> dict[str, float]:
    """Values with units as bare numbers; NaN where unknown."""
    return {name: float("nan") if v["value"] is None else float(v["value"]) for name, v in values.items()}


def sample(results: Entries, folders: Folders) -> str:
    """A look at the archive."""
    found, sources = results["stages"]["sample"], results["archive"]["sources"]
    made = " and ".join(f"{count:,} {name}" for name, count in sources.items())
    return section(
        "",
        "The archive",
        f"<p>The archive holds {made} patches of {results['archive']['regions']:,} regions. Simulated regions are "
        "followed while they cross the disc. The samples of the package are line-of-sight magnetograms of SDO/HMI.</p>",
        plate(
            folders["sample"], found["file"], "magnetograms of the archive in a square",
            "The frame's colour tells simulated from real ones; there are more real ones here than their share.",
        ),
    )  # fmt: skip


def _matches(records: Sequence[Entries], folder: Path, physical: bool) -> list[Picture]:
    fields = {"line-of-sight": "line of sight", "radial": "radial field"}
    return [
        Picture(
            folder / m["file"],
            m["source"] or "simulated",
            f"{m['rank']}. {m['region']}",
            _numbers(m["grid_parameters"]),
            (f"distance {m['distance']:.3g}", fields.get(m["quantity"], str(m["quantity"]))),
            physical,
        )
        for m in records
    ]


def described(results: Entries, folders: Folders) -> str:
    """Words, the patch that answers them, and its ten matches with a table."""
    found, folder, physical = results["stages"]["described"], folders["described"], results["model"]["physical"]
    words, meanings = "", vocabulary()
    for name, target in found["requested"].items():
        meaning = meanings.get(target["word"], symbol(name))
        if name != "polarity":
            asked = _RELATIONS[target["relation"]] + _value(name, target["value"], physical)
            meaning += f", that is {symbol(name)} {asked}"
        words += f"<li><em>{escape(target['word'] or name)}</em>: {escape(meaning)}</li>"
    verdict = (
        "It meets everything that was asked (numbers to within the tolerance of the search)."
        if found["verdict"] == "met"
        else "Not everything could be met at once; this is the nearest patch found. The table below says by how much."
    )
    answers = [
        Picture(
            folder / one["file"], "generated", f"answer {k} ({one['verdict']})", _numbers(one["parameters"]),
            physical=physical,
        )
        for k, one in enumerate(found["answers"], start=1)
    ]  # fmt: skip
    measured = _numbers(found["measured"])
    return section(
        "",
        "Asked for in words, and found",
        f'<p class="asked">“{escape(found["description"])}”</p><p>Percentiles are those of what the generator makes:'
        f"</p><ul>{words}</ul><p>{verdict} The length of its latent vector is {found['z_norm']:.1f}; "
        f"{found['latent_dim'] ** 0.5:.0f} is typical of those the generator was trained on.</p>",
        plate(folder, found["answer_file"], "the generated magnetogram that answers the description", width="small"),
        "<h3>Answers to the same words</h3>",
        row_of_tiles(answers),
        "<h3>What it finds</h3><p>The first answer is embedded, and the nearest patches of the archive in the space of "
        "embeddings are its matches: the best frame of each of "
        f"{len(found['matches'])} different regions.</p>",
        row_of_tiles(_matches(found["matches"], folder, physical)),
        _compared(found, measured, physical),
        plate(
            folder, found["match_file"], "the best match at its native scale", escape(found["match_about"]), "small"
        ),
    )  # fmt: skip


def _compared(found: Entries, measured: Mapping[str, float], physical: bool) -> str:
    """What was asked, drawn and found, in one table."""
    names = found["compared"]

    def cells(values: Entries) -> list[str]:
        return [escape(_value(name, values.get(name), physical)) for name in names]

    asked = [
        escape(_RELATIONS[t["relation"]] + _value(name, t["value"], physical))
        if (t := found["requested"].get(name)) else "–"
        for name in names
    ]  # fmt: skip
    rows = [["Asked", "", "", *asked, "", ""], ["Generated", badge("generated"), "", *cells(measured), "", ""]]
    for m in found["matches"]:
        native = [escape(parameter_text(n, (m["parameters"].get(n) or {}).get("value"), True)) for n in ("tuf", "psep")]
        about = [f"{m['rank']}. {escape(m['region'])}", badge(m["source"] or "simulated"), f"{m['distance']:.3g}"]
        rows.append([*about, *cells(m["compared"]), *native])
    head = ["Patch", "Source", "Distance", *(escape(_heading(n)) for n in names), "native TUF", "native PSEP"]
    return (
        "<p>All columns but the last two are measured on the model's grid, where generated and archived patches can be "
        "compared. The last two are measured on the patch as it is in the archive: more flux, since opposite "
        "polarities that share one coarse pixel cancel on the grid.</p>" + table(head, rows)
    )


def observed(results: Entries, folders: Folders) -> str:
    """An observed region, its reconstruction, its flux raised, and what both find."""
    found, folder, physical = results["stages"]["observed"], folders["observed"], results["model"]["physical"]
    step = found["edited"]["step"]
    shown = (
        (f"{found['region']}, original", found["source"], "original", (found["quantity"].replace("-", " "),)),
        ("Reconstruction", "generated", "reconstructed", ()),
        (f"Flux raised, {step:+.2f} σ", "generated", "edited", ()),
    )
    tiles = [
        Picture(folder / found[k]["file"], kind, title, _numbers(found[k]["parameters"]), lines, physical)
        for title, kind, k, lines in shown
    ]
    known = found["original"]["parameters"]
    columns = (*_SHOWN, "sigma", "alpha", "grad", *(name for name in plugin_names() if name in known))
    rows = [
        [escape(title), badge(kind), *(
            escape(parameter_text(name, found[k]["parameters"][name]["value"], physical)) for name in columns
        )]
        for title, kind, k, _ in shown
    ]  # fmt: skip
    frames = [
        Picture(folder / s["file"], "generated", f"{s['step']:+.2f} σ", _numbers(s["parameters"]), (), physical)
        for s in found["steps"]
    ]
    itself = (
        "the first answer is the region itself, as it must be"
        if found["finds_itself"]
        else "<strong>the first answer is not the region itself</strong>"
    )
    worth = (
        "It is unlike most of what the networks were trained on: they saw mainly simulated radial fields, this is a "
        "line-of-sight magnetogram of the Sun."
        if found["quantity"] == "line-of-sight"
        else "The networks were trained mainly on simulated regions."
    ) + (" It was itself among the few real patches of the training." if found["trained_on"] else "")
    return section(
        "",
        "An observed region, reconstructed and changed",
        f"<p>{escape(found['region'])} as SDO/HMI saw it. The latent vector whose patch comes closest leaves "
        f"{share(found['unexplained'])} of the patch's own mean square (mean squared error {found['mse']:.4f}); |z| = "
        f"{found['z_norm']:.1f}, where {found['latent_dim'] ** 0.5:.0f} is typical. {worth}</p>",
        plate(folder, found["native_file"], "the observed region at native scale", escape(found["credit"]), "small"),
        row_of_tiles(tiles),
        table(["Patch", "Source", *(escape(_heading(name)) for name in columns)], rows),
        "<h3>Raising its flux</h3><p>Along TUF from the reconstruction. The step whose flux is nearest to one and a "
        "half times that of the reconstruction serves as the edited query.</p>",
        row_of_tiles(frames, strip=True),
        f"<h3>What the original finds</h3><p>Searched without any restriction, {itself}. Below, its own region is left "
        "out.</p>",
        row_of_tiles([tiles[0], *_matches(found["matches"], folder, physical)]),
        "<h3>What the edited region finds</h3>",
        row_of_tiles([tiles[2], *_matches(found["edited_matches"], folder, physical)]),
    )


def population(results: Entries, folders: Folders) -> str:
    """Parameters of generated patches beside those of the archive."""
    rows, physical = [], results["model"]["physical"]
    for name, found in results["stages"]["table"]["population"].items():
        cells = []
        for kind in ("generated", "archive"):
            low, middle, high = (quantity(v, unit_of(name, physical)) for v in found[kind])
            cells += [escape(middle), escape(f"{low} … {high}")]
        rows.append([escape(symbol(name)), *cells, share(found["within"])])
    head = ["Parameter", "generated: median", "16 … 84 %", "archive: median", "16 … 84 %", "within 5 … 95 %"]
    return section(
        "",
        "Generated patches in numbers",
        "<p>The random queries beside the whole archive, on the grid. The last column is the share of generated "
        "patches that lie where nine tenths of the archive lie, 90 % if both were distributed alike: where it is far "
        "lower, that property of a generated patch is not to be believed.</p>",
        table(head, rows),
    )


def _limits(model: Entries) -> list[tuple[str, str]]:
    height, width = model["shape"]
    if model["scale_mm"] is None:
        return [
            ("No physical size.", f"Each patch is stretched to {height} × {width} pixels, each axis by its own factor. "
             "A generated patch has no maxwells and no megametres; tilts and separations read off the grid are "
             "distorted."),
            (f"Clipped at {model['clip_gauss']:.0f} G.", "Sunspots saturate: strong regions lose a fifth or so of "
             "their flux before any network sees them."),
        ]  # fmt: skip
    y, x = model["scale_mm"]
    return [
        ("Coarse pixels.", f"A pixel of {x:.2f} Mm holds 25 of HMI's. Opposite polarities within it cancel, noise "
         "above all: fluxes on the grid are lower than those of the observation (docs/physical.md says by how much), "
         "and R is that of this grid, not of the paper's."),
        ("A limited view.", f"What lies beyond {height * y:.0f} × {width * x:.0f} Mm is neither seen nor drawn; the "
         "largest complexes lose part of their flux."),
    ]  # fmt: skip


def trust(results: Entries) -> str:
    """What the numbers of a report do not say."""
    points = [
        ("The archive is simulated.", "Its regions follow known laws of flux, tilt and dispersal, but correlations "
         "found within it do not carry over to the Sun, and a best match in it is no observation."),
    ] if results["archive"]["sources"].get("simulated") else []  # fmt: skip
    points += _limits(results["model"])
    points += [
        ("Line of sight and radial.", "The samples of the package are line-of-sight magnetograms, simulated patches "
         "are radial fields; away from disc centre the two differ, up to false polarity inversions."),
        ("Near the limb", "noise and projection rule. The generator draws clean backgrounds whatever the position, so "
         "noisy regions are neither reconstructed nor found well."),
        ("Directions are linear.", "They hold near the middle of the latent distribution; three standard deviations "
         "out, other properties move too. A latent vector of unusual length gives a patch that the generator was never "
         "trained to draw."),
        ("A match is the nearest patch of this archive,", "however far that is: its distance says little by itself, "
         "its agreement with the query is in the tables and not in its rank, and neither its history nor its flares "
         "can be read off the query."),
        ("A generated region is a drawing.", "Nothing makes its field solve an equation."),
    ]  # fmt: skip
    told = "".join(f"<li><strong>{escape(head)}</strong> {escape(words)}</li>" for head, words in points)
    raised = "".join(f"<li>{escape(line)}</li>" for line in results["warnings"])
    return section(
        "",
        "Where not to trust this",
        f'<div class="caution"><ul>{told}</ul></div>',
        f"<h3>Warnings while this report was made</h3><ul>{raised}</ul>" if raised else "",
    )
