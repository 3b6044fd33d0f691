"""The lines of Python and of the command line that give exactly what the page shows."""

from __future__ import annotations

import shlex

__all__ = ["provenance_code", "recipe"]


def provenance_code(model: str | None, archive: str | None, query: tuple[str, str]) -> str:
    """Lines of Python that give the patch on the screen, ``gauss``, and its parameters at native scale, ``measured``.

    Parameters
    ----------
    model, archive
        As `solquery app` was given them; the archive is opened only for a patch of it.
    query
        What kind (``"z"``, ``"patch"``, ``"upload"``), and the latent's text, the id, or the file's name.
    """
    kind, value = query
    lines = ["import solquery", "", f"model = solquery.Model.load({model!r})" if model else _DEFAULT]
    if kind == "z":
        lines += [
            f"model, z = solquery.steering.open_latent(model, {value!r})",
            "x = solquery.render(model.generator, z[None], model.preset.shape)[0, 0].numpy()",
        ]
    elif kind == "patch":
        lines += [f"archive = solquery.Archive.open({archive!r})", f"patch = archive.get({value!r})", _PREPARE]
    else:
        lines += [f"patch = solquery.read_sharp({value!r}, strict_quality=False)", _PREPARE]
    return "\n".join([*lines, _GAUSS, _ESTIMATED if kind == "z" else _OBSERVED]) + "\n"


def recipe(
    model: str | None,
    archive: str | None,
    query: tuple[str, str],
    k: int,
    where: str | None,
    group: str,
    exclude_region: str | None,
    by: str = "embedding",
    examples: bool = False,
    lasso: bool = False,
) -> dict[str, str]:
    """Lines that repeat a search.

    Parameters
    ----------
    model, archive
        As `solquery app` was given them.
    query
        What kind (``"z"``, ``"patch"``, ``"upload"``), and the latent's text, the id, or the file's name.
    k, where, group, exclude_region, by
        Of the search; `by` as the command line has it.
    examples
        Whether the page ranked by examples too, which these lines do not: they say so.
    lasso
        Whether the page kept to a part of a scatter plot, which these lines do not: they say so.

    Returns
    -------
    ``python`` and ``cli``; the latter is empty without an archive.
    """
    kind, value = query
    lines = provenance_code(model, archive, query).splitlines()
    if archive is not None:
        if kind != "patch":
            lines.append(f"archive = solquery.Archive.open({archive!r})")
        options = [f"k={k}", f"group={group!r}"]
        options += [f"where={where!r}"] if where else []
        options += [f"exclude_region={exclude_region!r}"] if exclude_region else []
        # what was drawn is not looked for pixel by pixel
        options += ["rerank=0"] if by == "embedding" and kind == "z" else []
        if by == "physics":
            lines.insert(1, "from solquery.search import WEIGHTS")
            lines.append('weights = {name: weight for name, weight in WEIGHTS.items() if name != "embedding"}')
            options.append("weights=weights")
        if by == "structure":
            options.append("by='structure'")
        search = "search" if by in ("embedding", "structure") else "search_hybrid"
        # by structure the kind of field of an observation counts, which its pixels alone do not tell
        sought = "patch" if by == "structure" and kind != "z" else "x"
        lines += [_EXAMPLES] if examples else []
        lines += [_LASSO] if lasso else []
        lines.append(f"matches = solquery.{search}(archive, model, {sought}, {', '.join(options)})")

    text = f"latent:{value}" if kind == "z" else value
    line: list[str] = []
    if archive is not None:
        line = ["solquery", "search", text, "--archive", archive, "-k", str(k), "--group", group]
        line += ["--model", model] if model else []
        line += ["--by", by] if by != "embedding" else []
        line += ["--where", where] if where else []
        line += ["--exclude-own"] if exclude_region else []
        # the page takes a file whatever its QUALITY, and says what that is
        line += ["--any-quality"] if kind == "upload" else []
    return {"python": "\n".join(lines) + "\n", "cli": shlex.join(line)}


_DEFAULT = "model = solquery.Model.load()"
_EXAMPLES = "# the page ranked by more and less like some matches, too: that order is in its CSV"
_LASSO = "# the page kept to what was encircled in a plot, too: those matches are in its CSV"
_PREPARE = "x = solquery.prepare(patch, model.preset)"
_GAUSS = "gauss = model.preset.to_gauss(x)"
_ESTIMATED = "measured = model.native(x)"
_OBSERVED = "measured = solquery.measure(patch.field, patch.scale_mm)"
