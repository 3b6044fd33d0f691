"""The report of a study: its sections in order, the table, and in plain words what differs from the paper."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape

from ..aliases import Entries
from . import describe_sections as beyond
from . import reproduce_sections as paper
from .paper_sections import conditional_section, copies_section, pipeline_section
from .report import page, section, share, symbol, table, text
from .reproduce_stages import Folders

__all__ = ["differences", "render"]


def differences(about: Entries) -> list[str]:
    """What differs from the paper: data, choices, compute; one sentence or two each."""
    model = about["model"]
    threads = about.get("threads", 1)
    return [
        _data(about["archive"]),
        _grid(model),
        _generator(model["generator"], model["provenance"].get("generator", {})),
        _encoder(model["encoder"]),
        *_figures(about["plan"]["stages"], model.get("papers_method")),
        "Search. By the embedding alone, of single frames: not grouped by region and not ranked again, as in the "
        "paper.",
        "Intervals. The paper gives none. Ours resample the matched regions, since frames of one region are not "
        "independent. Networks trained anew would differ by more than that.",
        f"Compute. The paper names no hardware. This report was made on {threads} CPU core{'s' * (threads != 1)}; on "
        "what and for how long the networks were trained is in their model card.",
    ]


def _data(archive: Entries) -> str:
    sources = archive["sources"]
    made_of = " and ".join(f"{count:,} {name}" for name, count in sources.items())
    if sources.get("simulated"):
        return (
            f"Data. The paper searches 49,552 observed SHARP patches of 1,839 regions. Searched here are "
            f"{archive['patches']:,} patches of {archive['regions']:,} regions ({made_of}). Simulated patches come "
            "from this package's own simulator: their numbers say how the method behaves on them, not how it does on "
            "the Sun."
        )
    return (
        f"Data. The paper searches 49,552 observed SHARP patches of 1,839 regions. Searched here are "
        f"{archive['patches']:,} observed patches of {archive['regions']:,} regions, a different selection."
    )


def _grid(model: Entries) -> str:
    if model["physical"]:
        y, x = model["scale_mm"]
        height, width = model["shape"]
        return (
            f"Grid. The paper stretches every patch to 128 × 128 pixels and clips at ±1,000 G. Here a pixel is {x:.2f} "
            f"Mm for every patch, the view {height * y:.0f} × {width * x:.0f} Mm, and fields reach "
            f"±{model['clip_gauss']:,.0f} G, so that fluxes are in maxwell and lengths in megametres. SIGMA, ALPHA, "
            "GRAD and R depend on the grid: compare them with the paper's with care."
        )
    height, width = model["shape"]
    same = (height, width, model["clip_gauss"]) == (128, 128, 1000.0)
    return (
        f"Grid. Every patch is stretched to {height} × {width} pixels and clipped at ±{model['clip_gauss']:,.0f} "
        f"G{', as in the paper' if same else '; the paper has 128 × 128 and ±1,000 G'}."
    )


def _generator(generator: Entries, origin: Entries) -> str:
    shown = origin.get("last", {}).get("images")
    if not shown:
        trained = ""
    elif {"finetuned", "settled"} & set(origin.get("provenance", {})):  # the latter in models from before
        trained = (
            f" It was finetuned on {int(shown):,} images more: flux, area and texture of its draws are distributed as "
            "in the archive."
        )
    else:
        before = origin.get("start", {}).get("images")
        earlier = f" and {int(before):,} in those before" if before else ""
        trained = (
            f" In the run that the model was built from it was shown {int(shown):,} images{earlier}; the paper's 200 "
            "epochs are 9.9 million."
        )
    if generator["arch"] == "paper" and generator["loss"] == "bce":
        return "Generator. The paper's architecture and loss." + trained
    return (
        f"Generator. Not the paper's network but architecture “{generator['arch']}” with loss "
        f"“{generator['loss']}”, which learns faster for the compute at hand." + trained
    )


def _unlike_the_paper(encoder: Entries) -> str:
    """How its SimSiam differs; results of before have none of these settings."""
    pixels, rate = encoder.get("downsample", 1), encoder.get("prediction_rate", 1.0)
    told = [f"it looks at means of {pixels} × {pixels} pixels"] if pixels > 1 else []
    told += [f"its prediction head learned at {rate:g} times the rate"] if rate != 1 else []
    return f", but {' and '.join(told)}" if told else ""


def _encoder(encoder: Entries) -> str:
    taught = (
        f", part of which is taught to follow {len(set(encoder['physics']))} parameters" if encoder["physics"] else ""
    )
    if encoder["loss"] == "simsiam" and not taught:
        return "Encoder. SimSiam, as in the paper" + _unlike_the_paper(encoder) + "."
    return (
        f"Encoder. Loss “{encoder['loss']}” instead of SimSiam, a narrower network{taught}. Where an embedding "
        "was taught a parameter, its correlation is higher by design."
        if taught
        else f"Encoder. Loss “{encoder['loss']}” instead of SimSiam, a narrower network."
    )


def _figures(stages: Sequence[str], papers: bool) -> list[str]:
    out = []
    if "figure4" in stages:
        out.append(
            "Figure 4. Along the first two latent numbers, as in the paper."
            if papers
            else "Figure 4. The paper projects along the first two latent numbers; here the two that weigh most in the "
            "normal are taken, without which the view is stretched beyond reading."
        )
    if "figure6" in stages:
        out.append(
            "Figure 6. The latent vector is free, as in the paper; a sample is inverted, not the whole archive. The "
            "noise that grows toward the limb is the simulator's where patches are simulated."
            if papers
            else "Figure 6. The paper lets the latent vector wander freely. Here a mild penalty keeps it where the "
            "generator was trained, and a sample is inverted, not the whole archive."
        )
    return out


def _table(results: Entries) -> str:
    rows = []
    for row in results["table"]:
        inside = row["low"] is not None and row["low"] <= row["paper"] <= row["high"]
        below = row["high"] is not None and row["high"] < row["paper"]
        rows.append(
            [
                escape(symbol(row["parameter"])) if row["statistic"] == "pearson" else "",
                row["statistic"].capitalize(),
                text(row["paper"]),
                f"<b>{text(row['ours'])}</b>",
                f"{text(row['low'])} … {text(row['high'])}",
                text(row["difference"], sign=True),
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


def _facts(results: Entries) -> str:
    tuf = next(row for row in results["table"] if (row["parameter"], row["statistic"]) == ("tuf", "pearson"))
    archive, accuracies = results["archive"], results["stages"]["directions"]["accuracies"]
    facts: Sequence[tuple[str, str]] = (
        (f"{archive['patches']:,}", "patches: " + ", ".join(f"{n:,} {k}" for k, n in archive["sources"].items())),
        (f"{archive['regions']:,}", "regions"),
        (f"{results['stages']['queries']['queries']:,}", "generated queries"),
        (text(tuf["ours"]), "Pearson correlation of TUF, query and match (paper: 0.78)"),
        (share(accuracies["tuf"]["accuracy"]), "accuracy of the decision boundary of TUF (paper: not given)"),
    )
    return '<div class="facts">' + "".join(f"<div><strong>{a}</strong>{escape(b)}</div>" for a, b in facts) + "</div>"


#: a section stands where the stage was done
_SECTIONS: tuple[tuple[str, Callable[[Entries, Folders], str]], ...] = (
    ("sample", beyond.sample),
    ("described", beyond.described),
    ("training", lambda results, folders: pipeline_section()),
    ("training", paper.training),
    ("figure2", paper.zoo),
    ("figure3", paper.parameters),
    ("directions", paper.directions),
    ("figure4", paper.planes),
    ("figure5", paper.strips),
    ("conditional", lambda results, folders: conditional_section(results["stages"]["conditional"])),
    ("figure6", paper.inversions),
    ("copies", lambda results, folders: copies_section(results["stages"]["copies"])),
    ("observed", beyond.observed),
    ("queries", paper.retrieval),
    ("table", beyond.population),
)


def render(results: Entries, folders: Folders) -> str:
    """The report as one HTML document; pictures are read from the stages' folders and put inside."""
    # who reads what was asked for comes to the paper last
    model, demo = results["model"], "described" in results["stages"]
    mark = f", {model['hash'][:12]}" if model["hash"] else ""
    title, lead = (
        (
            "Describe an active region, see it, find it",
            "A solar active region is asked for by its physics, a generator draws it, and the drawing is the query "
            "that finds its likes in an archive of magnetograms.",
        )
        if demo
        else (
            "The paper, done again",
            "Every experiment of Chatterjee et al. on generating solar active regions and searching with them, in the "
            "paper's order.",
        )
    )
    head = (
        f'<header><h1>{title}</h1><p class="lead">{lead}</p>'
        f'<p class="meta">solquery {escape(results["solquery"])} · model “{escape(model["name"])}”, preset '
        f"“{escape(model['preset'])}”{mark} · archive "
        f"{escape(results['archive']['content'][:12])}</p></header>"
    )
    differ = "".join(f"<li>{escape(line)}</li>" for line in results["differences"])
    parts = [make(results, folders) for stage, make in _SECTIONS if stage in results["stages"]]
    beside = [_table(results), section("", "What differs from the paper", f"<ul>{differ}</ul>")]
    return page(
        f"Solquery: {title[0].lower()}{title[1:]}",
        head,
        _facts(results),
        beyond.key(),
        *(parts + beside if demo else beside + parts),
        beyond.trust(results),
        f"<footer><p>{escape(beyond.credit(results))}</p>Every number is in results.json; stages/ holds the pictures. "
        f"Seed {results['plan']['seed']}.</footer>",
    )
