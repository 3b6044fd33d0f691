"""The report of a reproduction: the paper's figures in its order, the table, and in plain words what differs."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from ..physics import get_parameter, unit_of
from .figures import METHOD_LABELS
from .magnetogram import GREY_TEXT
from .paper_sections import conditional_section, copies_section, epochs_text, pipeline_section, similarity_text
from .report import page, quantity, section, table, wide
from .retrieval import METHODS

__all__ = ["differences", "render"]

Results = Mapping[str, Any]
_SYMBOLS = {"polarity": "leading polarity"}


def _symbol(name: str) -> str:
    return _SYMBOLS.get(name) or get_parameter(name).symbol


def _text(value: float | None, digits: int = 2, sign: bool = False) -> str:
    return "–" if value is None else f"{value:{'+' if sign else ''}.{digits}f}".replace("-", "−")


def _share(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.0f} %"


def _plate(folder: Path, file: str | None, alt: str, caption: str = "", width: str = "single") -> str:
    if file is None:
        return ""
    data = base64.b64encode((folder / file).read_bytes()).decode("ascii")
    text = f"<figcaption>{caption}</figcaption>" if caption else ""
    return (
        f'<figure class="plate {width}"><img alt="{escape(alt, quote=True)}" src="data:image/png;base64,{data}">'
        f"{text}</figure>"
    )


def differences(about: Results) -> list[str]:
    """What differs from the paper: data, choices, compute; one sentence or two each."""
    archive, model = about["archive"], about["model"]
    sources = archive["sources"]
    made_of = " and ".join(f"{count:,} {name}" for name, count in sources.items())
    out = []
    if sources.get("simulated"):
        out.append(
            f"Data. The paper searches 49,552 observed SHARP patches of 1,839 regions. Searched here are "
            f"{archive['patches']:,} patches of {archive['regions']:,} regions ({made_of}). Simulated patches come "
            "from this package's own simulator: their numbers say how the method behaves on them, not how it does on "
            "the Sun."
        )
    else:
        out.append(
            f"Data. The paper searches 49,552 observed SHARP patches of 1,839 regions. Searched here are "
            f"{archive['patches']:,} observed patches of {archive['regions']:,} regions, a different selection."
        )
    if model["physical"]:
        y, x = model["scale_mm"]
        height, width = model["shape"]
        out.append(
            f"Grid. The paper stretches every patch to 128 × 128 pixels and clips at ±1,000 G. Here a pixel is {x:.2f} "
            f"Mm for every patch, the view {height * y:.0f} × {width * x:.0f} Mm, and fields reach "
            f"±{model['clip_gauss']:,.0f} G, so that fluxes are in maxwell and lengths in megametres. SIGMA, ALPHA, "
            "GRAD and R depend on the grid: compare them with the paper's with care."
        )
    else:
        height, width = model["shape"]
        same = (height, width, model["clip_gauss"]) == (128, 128, 1000.0)
        out.append(
            f"Grid. Every patch is stretched to {height} × {width} pixels and clipped at ±{model['clip_gauss']:,.0f} "
            f"G{', as in the paper' if same else '; the paper has 128 × 128 and ±1,000 G'}."
        )
    generator, encoder = model["generator"], model["encoder"]
    origin = model["provenance"].get("generator", {})
    shown = origin.get("last", {}).get("images")
    if not shown:
        trained = ""
    elif origin.get("provenance", {}).get("settled"):
        trained = (
            f" After its training, {int(shown):,} more images settled what it draws: its amounts of flux, area and "
            "texture were held to those of the archive."
        )
    else:
        before = origin.get("start", {}).get("images")
        earlier = f" and {int(before):,} in those before" if before else ""
        trained = (
            f" In the run that the model was built from it was shown {int(shown):,} images{earlier}; the paper's 200 "
            "epochs are 9.9 million."
        )
    if generator["arch"] == "paper" and generator["loss"] == "bce":
        out.append("Generator. The paper's architecture and loss." + trained)
    else:
        out.append(
            f"Generator. Not the paper's network but architecture “{generator['arch']}” with loss "
            f"“{generator['loss']}”, which learns faster for the compute at hand." + trained
        )
    taught = (
        f", part of which is taught to follow {len(set(encoder['physics']))} parameters" if encoder["physics"] else ""
    )
    out.append(
        "Encoder. SimSiam, as in the paper."
        if encoder["loss"] == "simsiam" and not taught
        else f"Encoder. Loss “{encoder['loss']}” instead of SimSiam, a narrower network{taught}. Where an embedding "
        "was taught a parameter, its correlation is higher by design."
        if taught
        else f"Encoder. Loss “{encoder['loss']}” instead of SimSiam, a narrower network."
    )
    if model.get("papers_method"):
        out.append("Figure 4. Along the first two latent numbers, as in the paper.")
        out.append(
            "Figure 6. The latent vector is free, as in the paper; a sample is inverted, not the whole archive. The "
            "noise that grows toward the limb is the simulator's where patches are simulated."
        )
    else:
        out.append(
            "Figure 4. The paper projects along the first two latent numbers; here the two that weigh most in the "
            "normal are taken, without which the view is stretched beyond reading."
        )
        out.append(
            "Figure 6. The paper lets the latent vector wander freely. Here a mild penalty keeps it where the "
            "generator was trained, and a sample is inverted, not the whole archive."
        )
    out.append(
        "Search. By the embedding alone, of single frames: not grouped by region and not ranked again, as in the paper."
    )
    out.append(
        "Intervals. The paper gives none. Ours resample the matched regions, since frames of one region are not "
        "independent. Networks trained anew would differ by more than that."
    )
    threads = about.get("threads", 1)
    out.append(
        f"Compute. The paper names no hardware. This report was made on {threads} CPU core{'s' * (threads != 1)}; on "
        "what and for how long the networks were trained is in their model card."
    )
    return out


def _training(result: Results, folder: Path) -> str:
    parts = []
    for run in result["runs"]:
        chosen = run["chosen_images"]
        text = f"chosen after {chosen:,.0f} images" if chosen else "the end of the run is used"
        caption = f"{escape(run['run'])}: {run['images']:,.0f} images; {text}: {escape(str(run['chosen_by']))}."
        rule = epochs_text(run)
        caption += f" The paper's rule takes {escape(rule)}." if rule else ""
        if run["file"]:
            parts.append(_plate(folder, run["file"], f"training curves of {run['run']}", caption))
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


def _zoo(stages: Results, folders: Mapping[str, Path], physical: bool) -> str:
    two, three = stages["figure2"], stages["figure3"]
    measured = ", ".join(f"{_symbol(n)} {quantity(v, unit_of(n, physical))}" for n, v in three["values"].items())
    return section(
        "Fig. 2",
        f"{two['patches']} random patches",
        f"<p>One latent vector each, drawn from the prior and not selected. {GREY_TEXT}</p>",
        _plate(folders["figure2"], two["file"], "mosaic of random generated patches"),
    ) + section(
        "Fig. 3",
        "From patch to parameters",
        "<p>Top: one of the patches with contours at ±150 G, the pixels beyond them with the line between the two "
        "centroids, whose length is PSEP, and the pixels near strong-gradient inversion lines over which R is summed: "
        f"{escape(measured)}. "
        f"Below: thresholds and centroids of all {three['patches']}. PSEP does not exist in {three['without_psep']} "
        f"of them, where a polarity is missing; R is 0 in {three['without_r']}.</p>",
        _plate(folders["figure3"], three["file"], "thresholded patches with lines between the centroids"),
    )


def _directions(result: Results) -> str:
    rows = [
        [
            escape(_symbol(name)),
            escape(get_parameter(name).title),
            _share(row["accuracy"]),
            _share(row["chance"]),
            f"{row['left_out']:,}",
        ]
        for name, row in result["accuracies"].items()
    ]
    names = list(result["cosines"])
    cosines = [[escape(_symbol(a)), *(_text(result["cosines"][a][b]) for b in names)] for a in names]
    return section(
        "",
        "Decision boundaries",
        "<p>One linear support vector machine per parameter, on latents labelled above or below the median. Accuracy "
        "is on latents not trained on; patches in which the parameter does not exist are left out. The paper gives no "
        "accuracies in its text, so there is nothing to set beside "
        "these.</p>",
        table(["Parameter", "", "Accuracy", "By guessing", "Patches left out"], rows, left=(1,)),
        "<p>Cosine between the normals: what is far from 0 is entangled, and changes along unless it is held.</p>",
        table(["", *(escape(_symbol(n)) for n in names)], cosines),
    )


def _planes(result: Results, folder: Path) -> str:
    plates = [
        _plate(
            folder, plane["file"], f"latent plane of {name}",
            f"{escape(_symbol(name))}: {_share(plane['right_side'])} of {result['latents']:,} patches lie on the side "
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


def _strips(result: Results, folder: Path) -> str:
    rows = []
    for one in result["strips"]:
        held = ", ".join(_symbol(n) for n in one["hold"]) or "nothing"
        effect = one["effect"]
        rows.append(
            [
                escape(_symbol(one["name"])),
                escape(held),
                *(_text(effect[n], sign=True) for n in ("tuf", "r", "psep")),
                _share(effect["flips"]),
            ]
        )
    return section(
        "Fig. 5",
        "Steps along directions",
        "<p>One patch moved by −3 to +3 standard deviations of the prior; above each frame the measured value of what "
        "is changed. Curves: TUF, R and PSEP measured on the way, as percentile among generated patches; a dotted "
        "line marks where the leading polarity changes.</p>",
        _plate(folder, result["file"], "strips of patches with curves of the measured parameters", "", ""),
        f"<p>One strip can mislead, so here is the same over {result['latents']} random patches: median change from "
        "−3 to +3, in spreads (half of the 84th minus the 16th percentile) of the generated population.</p>",
        table(["Changed", "Held", "TUF", "R", "PSEP", "Polarity flips"], rows, left=(1,)),
    )


def _inversions(result: Results, folder: Path) -> str:
    if result["file"] is None:
        return section("Fig. 6", "Error and place on the disk", f"<p>Not drawn: {escape(result['why'])}.</p>")

    def says(test: Mapping[str, float | None]) -> str:
        low, high, p = test["low"], test["high"], test["p"]
        if low is None or high is None:
            return "unknown"
        word = "rises" if low > 0 else "falls" if high < 0 else "neither rises nor falls beyond chance"
        chance = "" if p is None else f"; over the means of regions p = {p:.1g}"
        return f"{word} (Spearman {_text(test['spearman'])}, 95 % interval {_text(low)} to {_text(high)}{chance})"

    return section(
        "Fig. 6",
        "Error and place on the disk",
        f"<p>{result['patches']} patches of {result['regions']} regions of the archive, each with the patch that the "
        "generator comes closest with. The paper finds that the error grows toward the limb, where noise grows that "
        f"a generator does not make. Here, with growing angle from disk centre, the error "
        f"{says(result['error'])}; as a share of the patch's own power it {says(result['share'])}, median "
        f"{_share(result['share']['median'])}. "
        f"{_share(result['beyond_60_degrees'])} of the sample lie beyond 60° (paper: under 25 % of its data).</p>",
        _plate(folder, result["file"], "patches, their approximations, and error against angle"),
    )


def _retrieval(results: Results, folders: Mapping[str, Path]) -> str:
    stages = results["stages"]
    seven, eight, nine, asked = (stages[name] for name in ("figure7", "figure8", "figure9", "queries"))
    words = {1.0: "positive leading", -1.0: "negative leading", None: "polarity unknown"}
    told = []
    for title, match, signs in zip(("As drawn", "Exchanged"), seven["matches"], seven["leading"], strict=True):
        if match["id"] is None:
            told.append(f"{title}: nothing found.")
            continue
        told.append(
            f"{title}: {words.get(signs[0], '')}; match {match['region']} ({match['source']}), "
            f"{words.get(signs[1], '')}."
        )
    joints = {
        k: wide(
            _plate(folders[k], file, f"{name} of query and match", "", "") for name, file in stages[k]["joints"].items()
        )
        for k in ("figure7", "figure9")
    }
    alike = asked["likeness"]
    likeness = ", ".join(f"{METHOD_LABELS[m].split(' (')[0]} {_text(alike[m])}" for m in METHODS if m in alike)
    above = similarity_text(asked)
    zero = asked.get("sigma_zero") or {}
    zero_text = (
        "<p>With SIGMA as the paper writes it, a normal density of mean zero, the correlation is "
        f"{_text(zero.get('pearson'))} (Pearson), {_text(zero.get('spearman'))} (Spearman); the histogram shows the "
        "width of one whose mean is fitted as well.</p>"
        if zero
        else ""
    )
    colours = (
        "<p>A darker cell holds more pairs (logarithmic). Margins: queries in blue, matches in pink, outlined in black "
        "the whole archive. Dashed: equality.</p>"
    )
    return (
        section(
            "Fig. 7",
            "Query and match",
            f"<p>{escape(' '.join(told))}</p>",
            _plate(folders["figure7"], seven["file"], "query and match, and with polarities exchanged", "", "small"),
            colours,
            joints["figure7"],
        )
        + section(
            "Fig. 8",
            "Beside search by numbers",
            f"<p>The first {eight['rows']} queries, not chosen. Likeness of query and match, from a measure that knows "
            "neither parameters nor networks (best correlation over small shifts, zooms, rotations and flips), mean "
            f"over {asked['judged']} queries: {escape(likeness)}; blind draw {_text(alike.get('random'))}."
            f"{' Paired, the embedding is ' + escape(above) + ' (95 %).' if above else ''}</p>",
            _plate(folders["figure8"], eight["file"], "queries and matches of three methods"),
        )
        + section(
            "Fig. 9",
            "Texture, and R",
            colours,
            zero_text,
            joints["figure9"],
            _plate(folders["figure9"], nine["file"], "correlations by parameter and method beside the paper's"),
        )
    )


def _table(results: Results) -> str:
    rows = []
    for row in results["table"]:
        inside = row["low"] is not None and row["low"] <= row["paper"] <= row["high"]
        below = row["high"] is not None and row["high"] < row["paper"]
        rows.append(
            [
                escape(_symbol(row["parameter"])) if row["statistic"] == "pearson" else "",
                row["statistic"].capitalize(),
                _text(row["paper"]),
                f"<b>{_text(row['ours'])}</b>",
                f"{_text(row['low'])} … {_text(row['high'])}",
                _text(row["difference"], sign=True),
                "inside" if inside else "above" if below else "below" if row["low"] is not None else "–",
                f"{row['pairs']:,}",
            ]
        )
    data = results["stages"]["table"]["data"]
    head = ["Parameter", "Correlation", "Paper", "Here", "95 % interval", "Difference", "Paper's is", "Pairs"]
    return section(
        "",
        "The paper's numbers and ours",
        f"<p>Correlation of query and best match by embedding. Paper: 1,000 queries, 49,552 observed patches. Here: "
        f"{escape(data)}. A pair is left out where the parameter does not exist on one side.</p>",
        table(head, rows, left=(1, 6)),
    )


def _facts(results: Results) -> str:
    tuf = next(row for row in results["table"] if (row["parameter"], row["statistic"]) == ("tuf", "pearson"))
    archive, accuracies = results["archive"], results["stages"]["directions"]["accuracies"]
    facts: Sequence[tuple[str, str]] = (
        (f"{archive['patches']:,}", "patches: " + ", ".join(f"{n:,} {k}" for k, n in archive["sources"].items())),
        (f"{archive['regions']:,}", "regions"),
        (f"{results['stages']['queries']['queries']:,}", "generated queries"),
        (_text(tuf["ours"]), "Pearson correlation of TUF, query and match (paper: 0.78)"),
        (_share(accuracies["tuf"]["accuracy"]), "accuracy of the decision boundary of TUF (paper: not given)"),
    )
    return '<div class="facts">' + "".join(f"<div><strong>{a}</strong>{escape(b)}</div>" for a, b in facts) + "</div>"


def render(results: Results, folders: Mapping[str, Path]) -> str:
    """The report as one HTML document; pictures are read from the stages' folders and put inside."""
    model, stages = results["model"], results["stages"]
    mark = f", {model['hash'][:12]}" if model["hash"] else ""
    head = (
        "<header><h1>The paper, done again</h1>"
        '<p class="lead">Every experiment of Chatterjee et al. on generating solar active regions and searching with '
        "them, in the paper's order.</p>"
        f'<p class="meta">solquery {escape(results["solquery"])} · model “{escape(model["name"])}”, preset '
        f"“{escape(model['preset'])}”{mark} · archive "
        f"{escape(results['archive']['content'][:12])}</p></header>"
    )
    differ = "".join(f"<li>{escape(line)}</li>" for line in results["differences"])
    return page(
        "Solquery: the paper, done again",
        head,
        _facts(results),
        _table(results),
        section("", "What differs from the paper", f"<ul>{differ}</ul>"),
        pipeline_section(),
        _training(stages["training"], folders["training"]),
        _zoo(stages, folders, model["physical"]),
        _directions(stages["directions"]),
        _planes(stages["figure4"], folders["figure4"]),
        _strips(stages["figure5"], folders["figure5"]),
        conditional_section(stages["conditional"]),
        _inversions(stages["figure6"], folders["figure6"]),
        copies_section(stages["copies"]),
        _retrieval(results, folders),
        f"<footer>Every number is in results.json; stages/ holds the pictures. "
        f"Seed {results['plan']['seed']}.</footer>",
    )
