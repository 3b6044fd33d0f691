"""The code blocks of a Markdown page, run in their order in the working directory.

A comment on the line before a block says how it is tested, where it is not simply run:

    <!-- test: with "--regions 40" as "--regions 4", "n=4000" as "n=600" -->   run with smaller numbers
    <!-- test: parse only: needs JSOC -->                                      read, checked, never run
    <!-- test: slow: trains for a minute -->                                   run by -m slow, else parse only
    <!-- test: server -->                                                      slow; `solquery app` answers meanwhile

A shell block is read line by line: verbs of `solquery` run in this process, or are given to its parser alone; of `make`
the target, of `pip` the extra, of a script the file and its options must exist. Any other command fails the test.
"""

from __future__ import annotations

import contextlib
import glob
import os
import re
import shlex
import subprocess
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
_FENCE = re.compile(
    r"^(?:<!-- test: (?P<mark>[^\n]*?) -->\n)?(?P<fence>`{3,})(?P<language>python|sh|bash)\n(?P<code>.*?)^(?P=fence)$",
    re.MULTILINE | re.DOTALL,
)
_PAIR = re.compile(r'"([^"]*)" as "([^"]*)"')
#: shown, and not for a test to run: they change the machine or the checkout, or are tools with tests of their own
_SHOWN = {"export", "git", "apt-get", "pre-commit", "towncrier", "tail", "xdg-open"}
#: verbs that do not end by themselves
_SERVES = {"app"}


@dataclass(frozen=True)
class Block:
    """One code block: where it starts (line of its first code), what it is, and how it is tested."""

    page: Path
    line: int
    language: str
    code: str
    how: str = "run"
    reason: str = ""
    swaps: tuple[tuple[str, str], ...] = field(default=())

    def small(self) -> str:
        """The code with its swaps made; each must find something to change."""
        code = self.code
        for old, new in self.swaps:
            assert old in code, f"{self.page}:{self.line}: the mark swaps {old!r}, which is not in the block"
            code = code.replace(old, new)
        return code


def _marked(mark: str | None, where: str) -> tuple[str, str, tuple[tuple[str, str], ...]]:
    if not mark:
        return "run", "", ()
    if mark.startswith("with "):
        swaps = tuple(_PAIR.findall(mark))
        assert swaps, f"{where}: no pairs in the mark {mark!r}"
        return "run", "", swaps
    if mark == "server":
        return "server", "needs a running server", ()
    how, _, reason = mark.partition(": ")
    assert how in ("parse only", "slow") and reason, f"{where}: the mark {mark!r} is none, or gives no reason"
    return how, reason, ()


def blocks(page: Path, elsewhere: dict[str, str] | None = None) -> list[Block]:
    """The blocks of a page; `elsewhere` holds marks for blocks by a text that is in one of them alone."""
    text = page.read_text()
    left = dict(elsewhere or {})
    found = []
    for match in _FENCE.finditer(text):
        line = text.count("\n", 0, match.start("code")) + 1
        mark = match["mark"]
        for key in [key for key in left if key in match["code"]]:
            mark = left.pop(key)
        how, reason, swaps = _marked(mark, f"{page}:{line}")
        found.append(Block(page, line, match["language"], match["code"], how, reason, swaps))
    assert not left, f"{page} has no block with {', '.join(left)}"
    return found


def check(block: Block) -> None:
    """What can be said without running it: Python compiles, commands and their options exist."""
    if block.language == "python":
        compile(block.code, str(block.page), "exec")
        return
    subprocess.run(["bash", "-n"], input=block.code, text=True, check=True, timeout=20)
    for words in commands(block.code):
        _checked(words, f"{block.page}:{block.line}")


def run(block: Block, names: dict, code: str | None = None) -> None:
    """Run a block: Python in the namespace `names`, a shell block line by line."""
    code = block.small() if code is None else code
    if block.language == "python":
        # blank lines before it, so that a traceback names the page's own line
        exec(compile("\n" * (block.line - 1) + code, str(block.page), "exec"), names)
        return
    for words in commands(code):
        where = f"{block.page}:{block.line}"
        if words[0] == "export":
            name, _, value = words[1].partition("=")
            os.environ[name] = value
        elif words[0] == "solquery" and words[1] not in _SERVES and "--help" not in words:
            _solquery(words[1:], where)
        else:
            _checked(words, where)


def commands(code: str) -> list[list[str]]:
    """Words of every command, variables filled in and file names expanded where something matches."""
    found = []
    for line in code.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if not words or line.startswith("#"):
            continue
        if words[0] == "srun":
            words = words[1:]
        expanded: list[str] = []
        for word in map(os.path.expandvars, words):
            matches = sorted(glob.glob(word)) if "*" in word and " " not in word else []
            expanded += matches or [word]
        found.append(expanded)
    return found


def _solquery(arguments: list[str], where: str) -> None:
    from typer.testing import CliRunner

    from solquery.cli.root import app

    result = CliRunner().invoke(app, arguments)
    said = result.stderr.strip().splitlines()[-3:]
    assert result.exit_code == 0, f"{where}: solquery {shlex.join(arguments)}: exit {result.exit_code}: {said}"


def _checked(words: list[str], where: str) -> None:
    head, rest = words[0], words[1:]
    if head == "solquery":
        _parsed(rest, where)
    elif head == "make":
        targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
        wanted = {word for word in rest if "=" not in word}
        assert wanted <= targets, f"{where}: make has no {wanted - targets}"
    elif head == "pip":
        known = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])
        for word in rest:
            for extras in re.findall(r"^(?:solquery|\.)\[([\w,-]+)\]$", word):
                assert set(extras.split(",")) <= known, f"{where}: no extra {extras}"
    elif head in ("python", "python3", "pytest", "sh") or head.endswith(("/python", "/pytest")):
        _script(rest, where)
    else:
        assert head in _SHOWN, f"{where}: do not know how to test {shlex.join(words)!r}"


def _script(rest: list[str], where: str) -> None:
    """Files of the checkout that are named exist, and a script knows the options that it is given."""
    paths = [word.partition("::")[0] for word in rest if re.fullmatch(r"[\w./-]+/[\w./-]+\.py(::\w+)?", word)]
    for path in paths:
        assert (ROOT / path).is_file(), f"{where}: no file {path}"
    scripts = [path for path in paths if path.startswith(("scripts/", "benchmarks/"))]
    for option in (word for word in rest if word.startswith("--") and scripts):
        assert f'"{option}"' in (ROOT / scripts[0]).read_text(), f"{where}: {scripts[0]} has no {option}"


def _parsed(arguments: list[str], where: str) -> None:
    """Let the command line's own parser read the words, without doing anything."""
    import typer

    from solquery.cli.root import app

    command, words, context = typer.main.get_command(app), list(arguments), None
    try:
        while words and "--help" not in words and "--version" not in words:
            context = command.make_context(command.name or "solquery", words, parent=context)
            if not getattr(command, "commands", None):
                return
            _, command, words = command.resolve_command(context, [*context._protected_args, *context.args])
    except Exception as error:
        # the parser's own errors carry their message in one of several ways
        said = error.format_message() if hasattr(error, "format_message") else repr(error)
        raise AssertionError(f"{where}: solquery {shlex.join(arguments)}: {said}") from error


@contextlib.contextmanager
def own_registry():
    """Whatever a page registers is forgotten after it."""
    from solquery import config
    from solquery.physics import registry

    kept, presets = dict(registry._REGISTRY), dict(config.PRESETS)
    environment = dict(os.environ)
    try:
        yield
    finally:
        registry._REGISTRY.clear()
        registry._REGISTRY.update(kept)
        config.PRESETS.clear()
        config.PRESETS.update(presets)
        os.environ.clear()
        os.environ.update(environment)
