"""Sections of a reproduction's report on what stands beside the paper's figures: see `paper_experiments`."""

from __future__ import annotations

from html import escape

from ..aliases import Entries
from .report import section, share, symbol, table, text

__all__ = ["conditional_section", "copies_section", "epochs_text", "pipeline_section", "similarity_text"]

_WAYS = {
    "free": "nothing held",
    "linear": "linear, the model's directions",
    "larger table": "linear, larger table",
    "exact": "solved for each patch",
}
_CHANGES = {
    "shift_px": "shifted",
    "zoom": "zoomed",
    "rotation_deg": "rotated",
    "vertical_flip": "flipped",
    "all": "all at once",
}


def pipeline_section() -> str:
    """The paper's Figure 1: what the parts are, and what goes from one to the other."""
    from .pipeline import pipeline_svg

    return section(
        "Fig. 1",
        "The pipeline",
        "<p>Above: a generator is trained on patches; parameters of what it makes, set against its latent vectors, "
        "give directions. Below: an encoder is trained on the same patches; the embedding of a generated patch finds "
        "the nearest ones in the look-up table of the archive.</p>",
        f'<figure class="plate single">{pipeline_svg()}</figure>',
    )


def conditional_section(result: Entries) -> str:
    """What holding a parameter leaves, by linear directions and solved for."""
    rows = []
    for case in result["rows"]:
        held = ", ".join(symbol(name) for name in case["hold"])
        for way, found in case["ways"].items():
            rows.append(
                [
                    escape(f"{symbol(case['name'])}, {held} held") if way == "free" else "",
                    _WAYS[way],
                    text(found[case["name"]], sign=True),
                    *(text(found[name]) if name != case["name"] else "·" for name in ("tuf", "r", "psep")),
                    share(found["flips"]),
                ]
            )
    accuracy = [
        [escape(symbol(name)), share(a["model"]), share(a["larger"]), f"{result['left_out'][name]:,}"]
        for name, a in result["accuracies"].items()
    ]
    return section(
        "Fig. 5",
        "What is held, and how well",
        f"<p>The paper holds parameters by taking their normals out of the direction. Here the same over "
        f"{result['latents']} random patches, from −3 to +3 along the direction: median change of the led parameter, "
        "and median size of the change of the others, in spreads; and the share of patches whose leading polarity "
        f"turns. Directions fitted to {result['lookup']:,} latents say what a larger look-up table is worth. "
        "The last way of each case leaves the paper: every patch is solved for, from −1.5 to +1.5 spreads.</p>",
        table(["Changed", "How", "Moved", "TUF", "R", "PSEP", "Polarity flips"], rows, left=(1,))
        if rows
        else "<p>This generator has no direction for the parameters concerned.</p>",
        "<p>Accuracy of the boundaries on latents not trained on. Patches without a value are left out of a fit: PSEP "
        "and the leading polarity exist only where both polarities exceed 150 G.</p>",
        table(["Parameter", "Model", "Larger table", "Left out"], accuracy),
    )


def copies_section(result: Entries) -> str:
    """Whether the encoder is invariant to what it was trained to be."""
    rows = [
        [title, share(result[name]["share"]), f"{share(result[name]['low'])} … {share(result[name]['high'])}"]
        for name, title in _CHANGES.items()
    ]
    return section(
        "",
        "Is the embedding invariant?",
        f"<p>{result['patches']} patches, changed within the limits of the training, are asked for among "
        f"{result['among']:,} of the archive. Found first is the patch that the copy was made from, in so many cases; "
        f"the negative of a patch comes first in {share(result['negative']['share'])}. Effective rank of the "
        f"embeddings of generated patches: {text(result['effective_rank_of_generated'], 1)}.</p>",
        table(["Copy", "Found first", "95 % interval"], rows),
    )


def similarity_text(asked: Entries) -> str:
    """By how much matches by embedding are visually more similar than those of the baselines."""
    parts = []
    for method, gap in asked.get("visual_similarity_above", {}).items():
        interval = f"[{text(gap['low'])}, {text(gap['high'])}]"
        parts.append(f"{text(gap['difference'], sign=True)} {interval} above {method}")
    return "; ".join(parts)


def epochs_text(run: Entries) -> str:
    """The epochs that the paper's rule chooses, on patches of the training and on others."""
    names = {"training": "patches of the training", "held_out": "held-out regions"}
    told = [
        f"epoch {choice['epoch']} by {names[kind]} (accuracy {text(choice['accuracy'])} of {choice['epochs']} epochs)"
        for kind, choice in run.get("epochs", {}).items()
    ]
    return "; ".join(told)
