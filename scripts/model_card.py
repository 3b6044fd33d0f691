"""Write the model cards docs/models/NAME.md from the shipped models' model.json, so that no number is typed by hand.

python scripts/model_card.py            # all shipped models
python scripts/model_card.py --check    # exit 1 where a card does not say what its model.json says

What a person has to say of a model stands in docs/models/notes/NAME.md and is taken in as it is.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
MODELS = ROOT / "src" / "solquery" / "models"
CARDS = ROOT / "docs" / "models"

LICENCE = """\
## Data, credit and licence

Observed patches are courtesy of NASA/SDO and the HMI science team; they are in the public domain, and a publication
that uses them should say so. Simulated patches are made by `solquery simulate`. The weights have the licence of the
package, BSD-3-Clause. Nothing in the data concerns people.
"""


def number(value: Any) -> str:
    """A number as a reader wants it: four digits, thousands apart."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{int(value):,}" if float(value).is_integer() else f"{value:.4g}"


def flat(values: dict[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    """Nested numbers as rows."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from flat(value, f"{before}{key}, ")
        elif isinstance(value, int | float | str):
            yield before + key, number(value)


def table(head: tuple[str, str], rows: Iterator[tuple[str, str]] | list[tuple[str, str]]) -> list[str]:
    """Markdown table of two columns."""
    return [f"| {head[0]} | {head[1]} |", "|---|---|", *(f"| {a} | {b} |" for a, b in rows), ""]


def training(kind: str, document: dict[str, Any]) -> list[str]:
    """How one of the networks was trained, as far as the model knows."""
    part, story = document.get(kind), document.get("provenance", {}).get(kind)
    if not part:
        return [f"This model has no {kind}.", ""]
    config = part["config"]
    if "from" in part:
        return [f"The {kind} is that of model `{part['from']}`: see [its card]({part['from']}.md).", ""]
    rows = [(key, number(config[key])) for key in ("arch", "loss", "width", "precision") if key in config]
    if story:
        patches = story.get("patches") or (story.get("data", {}).get("shape") or [None])[0]
        rows += [("patches in the training set", number(patches)), ("seed", number(story.get("seed")))]
        given = story.get("provenance", {})
        if given.get("real"):
            harps = ", ".join(map(str, given["real"]["harps"]))
            rows += [("real frames among them", f"{number(given['real']['patches'])}, of HARPs {harps}")]
        if given.get("left_out_harps"):
            rows += [("HARPs left out", ", ".join(map(str, given["left_out_harps"])))]
        shown = given.get("encoder")
        if shown:
            own = shown == document.get("encoder", {}).get("weights")
            rows += [("shown in training to", "the encoder of this model" if own else f"encoder `{shown[:16]}`")]
        if "start" in story:
            seen = story["start"].get("images")
            told = "" if seen is None else f", which had seen {number(seen)} images"
            rows += [("began with the weights of", story["start"]["from"] + told)]
        rows += [(f"at the end: {key}", value) for key, value in flat(story.get("last", {}))]
    return table((kind, ""), rows)


def sampling(document: dict[str, Any]) -> list[str]:
    """What random draws of the model go through."""
    record = document.get("sampler")
    if not record:
        return []
    rows = [
        ("draws that are accepted", f"{record['accepted']:.0%}"),
        ("told from patches of regions left out", f"{record['told_apart']:.0%} of pairs"),
        ("fitted to", f"{number(record['draws'])} draws, {number(record['patches'])} patches of "
                      f"{number(record['regions'])} regions of the training"),
    ]  # fmt: skip
    return table(("sampler", ""), rows)


def card(document: dict[str, Any], notes: str) -> str:
    """The card of one model."""
    preset = document["preset"]
    scale = preset.get("scale_mm")
    top, knee = number(preset["clip_gauss"]), preset.get("knee_gauss")
    # with a knee nothing is cut off: what is beyond is soft-clipped, and the way back undoes it
    range_ = f"soft-clipped from {number(knee)} G toward {top} G" if knee else f"clipped at {top} G"
    grid = f"{preset['shape'][0]} × {preset['shape'][1]} pixels, {range_}"
    grid += (
        f", {scale[0]:g} × {scale[1]:g} Mm a pixel" if scale else "; every patch stretched to fit, so without a scale"
    )
    megabytes = sum(entry["bytes"] for entry in document["files"].values()) / 1e6
    lines = [
        f"# Model `{document['name']}`",
        "",
        "Written by `python scripts/model_card.py` from the model's own record.",
        "",
        notes.strip(),
        "",
        "## What it is",
        "",
        *table(
            ("", ""),
            [
                ("preset", f"`{preset['name']}`"),
                ("grid", grid),
                ("latent numbers", number(document["generator"]["config"]["latent_dim"])),
                ("size", f"{megabytes:.1f} MB"),
                ("hash", f"`{document['hash'][:16]}`"),
            ],
        ),
        "## How it was trained",
        "",
        *training("generator", document),
        *training("encoder", document),
        *sampling(document),
        "## What was measured",
        "",
    ]
    metrics = dict(document.get("metrics", {}))
    accuracies = metrics.pop("direction_accuracy", {})
    if accuracies:
        lines += ["Share of validation patches on the right side of each direction's boundary; 0.5 is chance.", ""]
        lines += table(("direction", "accuracy"), [(f"`{k}`", f"{v:.3f}") for k, v in accuracies.items()])
    if metrics:
        lines += table(("metric", "value"), flat(metrics))
    if not accuracies and not metrics:
        lines += ["Nothing is recorded in this model.", ""]
    return "\n".join([*lines, LICENCE])


def cards() -> dict[Path, str]:
    """Path and text of every card, and of their index."""
    out = {}
    names = sorted(folder.parent.name for folder in MODELS.glob("*/model.json"))
    for name in names:
        document = json.loads((MODELS / name / "model.json").read_text())
        notes = CARDS / "notes" / f"{name}.md"
        said = notes.read_text() if notes.exists() else "Nothing has been written about its intended use yet."
        out[CARDS / f"{name}.md"] = card(document, said)
    listed = "\n".join(names)
    out[CARDS / "index.md"] = (
        "# Model cards\n\nA *model* is a trained generator and encoder with directions. These ship with the package; "
        "each card is written from\nthe model's own record, and says what it is for and where it fails.\n\n"
        f"```{{toctree}}\n:maxdepth: 1\n\n{listed}\n```\n"
    )
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where a card is out of date")
    options = parser.parse_args()
    wrong = []
    for path, text in cards().items():
        if options.check:
            if not path.exists() or path.read_text() != text:
                wrong.append(path.relative_to(ROOT))
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            print(path.relative_to(ROOT))
    if wrong:
        sys.exit(f"out of date: {', '.join(map(str, wrong))}; run python scripts/model_card.py")


if __name__ == "__main__":
    main()
