"""Sections of a report, one for each of the paper's experiments: pictures and words around a stage's numbers."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from pathlib import Path

from ..aliases import Entries
from ..physics import get_parameter, unit_of
from .figures import METHOD_LABELS
from .magnetogram import GREY_TEXT
from .paper_sections import epochs_text, similarity_text
from .report import plate, quantity, section, share, symbol, table, text, wide
from .reproduce_stages import Folders
from .retrieval import METHODS

__all__ = ["directions", "inversions", "parameters", "planes", "retrieval", "strips", "training", "zoo"]


def training(results: Entries, folders: Folders) -> str:
    result, folder = results["stages"]["training"], folders["training"]
    parts = []
    for run in result["runs"]:
        chosen = run["chosen_images"]
        used = f"chosen after {chosen:,.0f} images" if chosen else "the end of the run is used"
        caption = f"{escape(run['run'])}: {run['images']:,.0f} images; {used}: {escape(str(run['chosen_by']))}."
        epochs = epochs_text(run)
        caption += f" The paper's rule takes {escape(epochs)}." if epochs else ""
        if run["file"]:
            parts.append(plate(folder, run["file"], f"training curves of {run['run']}", caption))
        else:
            parts.append(f"<p>{caption} Too short for a curve.</p>")
    if not parts:
        rows = []
        for what, story in result["provenance"].items():
            last = story.get("last", {}) if isinstance(story, Mapping) else {}
            if not isinstance(last, Mapping):
                continue
            numbers = [f"{key.replace('_', ' ')} {value:.4g}" for key, value in last.items()
                       if isinstance(value, int | float)]  # fmt: skip
            rows.append([escape(str(what)), escape(", ".join(numbers)) or "–"])
        parts.append(
            "<p>No run folder was given (<code>--run DIR</code>), so there are no curves to draw. What the model "
            "tells of the end of its trainings:</p>" + table(["Network", "Last statistics"], rows, left=(1,))
            if rows
            else "<p>No run folder was given (<code>--run DIR</code>), and the model tells nothing of its training.</p>"
        )
    rule = (
        "<p>The paper trains for 200 epochs and, of the first 100, takes the one at which the discriminator tells "
        "generated from real worst. A dashed line marks the checkpoint in use.</p>"
    )
    return section("", "Training", rule, *parts)


def zoo(results: Entries, folders: Folders) -> str:
    two = results["stages"]["figure2"]
    return section(
        "Fig. 2",
        f"{two['patches']} random patches",
        f"<p>One latent vector each, drawn from the prior and not selected. {GREY_TEXT}</p>",
        plate(folders["figure2"], two["file"], "mosaic of random generated patches"),
    )


def parameters(results: Entries, folders: Folders) -> str:
    three, physical = results["stages"]["figure3"], results["model"]["physical"]
    measured = ", ".join(f"{symbol(n)} {quantity(v, unit_of(n, physical))}" for n, v in three["values"].items())
    return section(
        "Fig. 3",
        "From patch to parameters",
        "<p>Top: one of the patches with contours at ±150 G, the pixels beyond them with the line between the two "
        "centroids, whose length is PSEP, and the pixels near strong-gradient inversion lines over which R is summed: "
        f"{escape(measured)}. "
        f"Below: thresholds and centroids of all {three['patches']}. PSEP does not exist in {three['without_psep']} "
        f"of them, where a polarity is missing; R is 0 in {three['without_r']}.</p>",
        plate(folders["figure3"], three["file"], "thresholded patches with lines between the centroids"),
    )


def directions(results: Entries, folders: Folders) -> str:
    result = results["stages"]["directions"]
    rows = [
        [
            escape(symbol(name)),
            escape(get_parameter(name).title),
            share(row["accuracy"]),
            share(row["chance"]),
            f"{row['left_out']:,}",
        ]
        for name, row in result["accuracies"].items()
    ]
    names = list(result["cosines"])
    cosines = [[escape(symbol(a)), *(text(result["cosines"][a][b]) for b in names)] for a in names]
    return section(
        "",
        "Decision boundaries",
        "<p>One linear support vector machine per parameter, on latents labelled above or below the median. Accuracy "
        "is on latents not trained on; patches in which the parameter does not exist are left out. The paper gives no "
        "accuracies in its text, so there is nothing to set beside "
        "these.</p>",
        table(["Parameter", "", "Accuracy", "By guessing", "Patches left out"], rows, left=(1,)),
        "<p>Cosine between the normals: what is far from 0 is entangled, and changes along unless it is held.</p>",
        table(["", *(escape(symbol(n)) for n in names)], cosines),
    )


def planes(results: Entries, folders: Folders) -> str:
    result, folder = results["stages"]["figure4"], folders["figure4"]
    plates = [
        plate(
            folder, plane["file"], f"latent plane of {name}",
            f"{escape(symbol(name))}: {share(plane['right_side'])} of {result['latents']:,} patches lie on the side "
            "that their measured value says.", "",
        )
        for name, plane in result["planes"].items()
    ]  # fmt: skip
    return section(
        "Fig. 4",
        "The latent space and its boundaries",
        "<p>The latent space laid flat so that the boundary is a line. Each patch stands at the nearest place of a "
        "grid, so that none covers another; green and blue frames are the extremes, enlarged below.</p>",
        wide(plates),
    )


def strips(results: Entries, folders: Folders) -> str:
    result, folder = results["stages"]["figure5"], folders["figure5"]
    rows = []
    for one in result["strips"]:
        held = ", ".join(symbol(n) for n in one["hold"]) or "nothing"
        effect = one["effect"]
        rows.append(
            [
                escape(symbol(one["name"])),
                escape(held),
                *(text(effect[n], sign=True) for n in ("tuf", "r", "psep")),
                share(effect["flips"]),
            ]
        )
    return section(
        "Fig. 5",
        "Steps along directions",
        "<p>One patch moved by −3 to +3 standard deviations of the prior; above each frame the measured value of what "
        "is changed. Curves: TUF, R and PSEP measured on the way, as percentile among generated patches; a dotted "
        "line marks where the leading polarity changes.</p>",
        plate(folder, result["file"], "strips of patches with curves of the measured parameters", "", ""),
        f"<p>One strip can mislead, so here is the same over {result['latents']} random patches: median change from "
        "−3 to +3, in spreads (half of the 84th minus the 16th percentile) of the generated population.</p>",
        table(["Changed", "Held", "TUF", "R", "PSEP", "Polarity flips"], rows, left=(1,)),
    )


def inversions(results: Entries, folders: Folders) -> str:
    result, folder = results["stages"]["figure6"], folders["figure6"]
    if result["file"] is None:
        return section("Fig. 6", "Error and place on the disk", f"<p>Not drawn: {escape(result['why'])}.</p>")

    def says(test: Mapping[str, float | None]) -> str:
        low, high, p = test["low"], test["high"], test["p"]
        if low is None or high is None:
            return "unknown"
        word = "rises" if low > 0 else "falls" if high < 0 else "neither rises nor falls beyond chance"
        chance = "" if p is None else f"; over the means of regions p = {p:.1g}"
        return f"{word} (Spearman {text(test['spearman'])}, 95 % interval {text(low)} to {text(high)}{chance})"

    return section(
        "Fig. 6",
        "Error and place on the disk",
        f"<p>{result['patches']} patches of {result['regions']} regions of the archive, each with the patch that the "
        "generator comes closest with. The paper finds that the error grows toward the limb, where noise grows that "
        f"a generator does not make. Here, with growing angle from disk centre, the error "
        f"{says(result['error'])}; as a share of the patch's own power it {says(result['share'])}, median "
        f"{share(result['share']['median'])}. "
        f"{share(result['beyond_60_degrees'])} of the sample lie beyond 60° (paper: under 25 % of its data).</p>"
        f"{_on_its_way(result.get('within_regions'))}",
        plate(folder, result["file"], "patches, their approximations, and error against angle"),
    )


def _on_its_way(within: Entries | None) -> str:
    """A paragraph on how the error of one region changes across the disk."""
    if not within or within["spearman"] is None:
        return ""
    chance = "" if within["p"] is None else f", p = {within['p']:.1g}"
    return (
        "<p>Between regions the error differs by flux and size more than by place. Within a region, as it comes nearer "
        f"to the limb, the rank correlation of error and angle is {text(within['spearman'])} in the mean of "
        f"{within['regions']} regions (95 % interval {text(within['low'])} to {text(within['high'])}{chance}).</p>"
    )


_COLOURS = (
    "<p>A darker cell holds more pairs (logarithmic). Margins: queries in blue, matches in pink, outlined in black the "
    "whole archive. Dashed: equality.</p>"
)


def retrieval(results: Entries, folders: Folders) -> str:
    stages = results["stages"]
    return (
        _query_and_match(stages["figure7"], folders)
        + _methods(stages["figure8"], stages["queries"], folders)
        + _texture(stages["figure9"], stages["queries"], folders)
    )


def _joints(found: Entries, folder: Path) -> str:
    files = found["joints"].items()
    return wide(plate(folder, file, f"{name} of query and match", "", "") for name, file in files)


def _query_and_match(seven: Entries, folders: Folders) -> str:
    words = {1.0: "positive leading", -1.0: "negative leading", None: "polarity unknown"}
    told = []
    for title, match, signs in zip(("As drawn", "Exchanged"), seven["matches"], seven["leading"], strict=True):
        if match["id"] is None:
            told.append(f"{title}: nothing found.")
            continue
        found = f"match {match['region']} ({match['source']})"
        told.append(f"{title}: {words.get(signs[0], '')}; {found}, {words.get(signs[1], '')}.")
    folder = folders["figure7"]
    return section(
        "Fig. 7",
        "Query and match",
        f"<p>{escape(' '.join(told))}</p>",
        plate(folder, seven["file"], "query and match, and with polarities exchanged", "", "small"),
        _COLOURS,
        _joints(seven, folder),
    )


def _methods(eight: Entries, asked: Entries, folders: Folders) -> str:
    alike = asked["visual_similarity"]
    similarity = ", ".join(f"{METHOD_LABELS[m].split(' (')[0]} {text(alike[m])}" for m in METHODS if m in alike)
    above = similarity_text(asked)
    return section(
        "Fig. 8",
        "Beside search by numbers",
        f"<p>The first {eight['rows']} queries, not chosen. Visual similarity of query and match, from a measure "
        "that knows neither parameters nor networks (best correlation over small shifts, zooms, rotations and "
        f"flips), mean over {asked['judged']} queries: {escape(similarity)}; blind draw "
        f"{text(alike.get('random'))}."
        f"{' Paired, the embedding is ' + escape(above) + ' (95 %).' if above else ''}</p>",
        plate(folders["figure8"], eight["file"], "queries and matches of three methods"),
    )


def _texture(nine: Entries, asked: Entries, folders: Folders) -> str:
    zero = asked.get("sigma_zero")
    zero_text = (
        "<p>With SIGMA as the paper writes it, a normal density of mean zero, the correlation is "
        f"{text(zero.get('pearson'))} (Pearson), {text(zero.get('spearman'))} (Spearman); the histogram shows the "
        "width of one whose mean is fitted as well.</p>"
        if zero
        else ""
    )
    folder = folders["figure9"]
    return section(
        "Fig. 9",
        "Texture, and R",
        _COLOURS,
        zero_text,
        _joints(nine, folder),
        plate(folder, nine["file"], "correlations by parameter and method beside the paper's"),
    )
