"""The lines of Python and of the command line that give exactly what the page shows."""

from __future__ import annotations

import shlex

__all__ = ["recipe"]


def recipe(
    bundle: str | None,
    archive: str | None,
    query: tuple[str, str],
    k: int,
    where: str | None,
    group: str,
    exclude_region: str | None,
    by: str = "ssl",
) -> dict[str, str]:
    """Lines that repeat a search.

    Parameters
    ----------
    bundle, archive
        As `solquery app` was given them.
    query
        What kind (``"z"``, ``"patch"``, ``"upload"``), and the latent's text, the id, or the file's name.
    k, where, group, exclude_region, by
        Of the search; `by` as the command line has it.

    Returns
    -------
    ``python`` and ``cli``; the latter is empty without an archive.
    """
    kind, value = query
    lines = ["import solquery", "", f"bundle = solquery.Bundle.load({bundle!r})" if bundle else _DEFAULT]
    if archive is not None:
        lines.append(f"archive = solquery.Archive.open({archive!r})")
    if kind == "z":
        lines += [
            f"z = solquery.decode_latent({value!r})",
            "x = solquery.render(bundle.generator, z[None], bundle.preset.shape)[0, 0].numpy()",
        ]
    elif kind == "patch":
        lines += [f"patch = archive.get({value!r})", _PREPARE]
    else:
        lines += [f"patch = solquery.read_sharp({value!r}, strict_quality=False)", _PREPARE]
    if archive is not None:
        options = [f"k={k}", f"group={group!r}"]
        options += [f"where={where!r}"] if where else []
        options += [f"exclude_region={exclude_region!r}"] if exclude_region else []
        # what was drawn is not looked for pixel by pixel
        options += ["verify=0"] if by == "ssl" and kind == "z" else []
        if by == "physics":
            lines.insert(1, "from solquery.retrieval import WEIGHTS")
            lines.append('weights = {name: weight for name, weight in WEIGHTS.items() if name != "look"}')
            options.append("weights=weights")
        search = "search" if by == "ssl" else "search_hybrid"
        lines.append(f"matches = solquery.{search}(archive, bundle, x, {', '.join(options)})")

    text = f"latent:{value}" if kind == "z" else value
    line: list[str] = []
    if archive is not None:
        line = ["solquery", "search", text, "--archive", archive, "-k", str(k), "--group", group]
        line += ["--bundle", bundle] if bundle else []
        line += ["--by", by] if by != "ssl" else []
        line += ["--where", where] if where else []
        line += ["--exclude-own"] if exclude_region else []
    return {"python": "\n".join(lines) + "\n", "cli": shlex.join(line)}


_DEFAULT = "bundle = solquery.Bundle.load()"
_PREPARE = "x = solquery.prepare(patch, bundle.preset)"
