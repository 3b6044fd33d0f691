"""Every code block of every page runs, in its page's order; what cannot run here says why, and is parsed."""

from __future__ import annotations

import shutil
import threading
import time
import warnings
from importlib.resources import files

import pytest
from page_blocks import ROOT, Block, blocks, check, own_registry, run

PAGES = sorted(
    page
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]
    if not {"_build", "generated", "gallery", "project"} & set(page.relative_to(ROOT).parts)
)

#: marks of pages that carry none: the front page is read on other sites, too
ELSEWHERE = {
    "README.md": {
        "solquery ingest hmi": 'with "solquery invert" as "solquery invert --steps 10 --starts 2", '
        '"solquery edit" as "solquery edit --steps 2"',
        'Archive.open("demo/archive")': 'with "demo/archive" as "archive"',
        "solquery train generator": "parse only: hours; docs/how-to/train-on-a-cluster.md runs the same verbs, tiny",
    }
}

#: shipped observations under the names that pages use for the reader's own
OBSERVATIONS = {
    "sharp-115-20100807T203600-magnetogram.fits": "hmi.sharp_cea_720s.377.20110215_020000_TAI.Br.fits",
    "sharp-856-20110915T052400-magnetogram.fits": "hmi.sharp_cea_720s.856.20110915_052400_TAI.magnetogram.fits",
}


def name_of(page):
    return page.relative_to(ROOT).as_posix()


def found_in(page) -> list[Block]:
    return blocks(page, ELSEWHERE.get(name_of(page)))


@pytest.fixture
def room(tmp_path, monkeypatch):
    """A directory with the observations that pages name."""
    monkeypatch.chdir(tmp_path)
    samples = files("solquery").joinpath("samples")
    for sample, name in OBSERVATIONS.items():
        shutil.copy(str(samples.joinpath(sample)), tmp_path / name)
    with own_registry(), warnings.catch_warnings():
        # what small numbers bring about: directions that separate badly, networks that have hardly learned
        from solquery import SteeringWarning
        from solquery.encoder import CollapseWarning as EncoderCollapse
        from solquery.training.diversity import CollapseWarning

        for kind in (SteeringWarning, CollapseWarning, EncoderCollapse):
            warnings.simplefilter("ignore", kind)
        yield tmp_path


WITH_BLOCKS = [page for page in PAGES if found_in(page)]


def test_there_are_pages_with_blocks():
    assert {"README.md", "docs/tutorial.md", "docs/how-to/other-images.md"} <= {name_of(page) for page in WITH_BLOCKS}


def test_no_page_is_hidden_by_one_that_sphinx_writes():
    """Sphinx makes these itself, last, and without a word."""
    top = {page.stem for page in PAGES if page.parent == ROOT / "docs"}
    assert {"tutorial", "searching"} <= top
    assert not top & {"search", "genindex", "modindex", "py-modindex", "http-routingtable"}


@pytest.mark.parametrize("page", WITH_BLOCKS, ids=name_of)
def test_blocks_can_be_read_and_their_commands_exist(page):
    for block in found_in(page):
        check(block)


@pytest.mark.parametrize("page", [p for p in WITH_BLOCKS if any(b.how == "run" for b in found_in(p))], ids=name_of)
def test_blocks_run(page, room):
    names: dict = {"__name__": "page"}
    for block in found_in(page):
        if block.how == "run":
            run(block, names)


def slow_in(page) -> bool:
    return any(block.how == "slow" or (block.language == "python" and block.swaps) for block in found_in(page))


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in WITH_BLOCKS if slow_in(page)], ids=name_of)
def test_python_runs_with_the_numbers_that_are_written(page, room):
    names: dict = {"__name__": "page"}
    if any(block.language == "python" and "demo/archive" in block.code for block in found_in(page)):
        from solquery.cli.root import app

        app(["demo", "--out", "demo"], standalone_mode=False)  # as the page says before
    for block in found_in(page):
        if block.how in ("run", "slow"):
            run(block, names, block.code if block.language == "python" else None)


@pytest.mark.slow
@pytest.mark.parametrize("page", [p for p in WITH_BLOCKS if any(b.how == "server" for b in found_in(p))], ids=name_of)
def test_blocks_that_ask_a_server_get_their_answers(page, room):
    import uvicorn

    from solquery import Archive, Model, sample_patches
    from solquery.app import Service, create_app

    archive = Archive.create(room / "archive")
    archive.add(sample_patches())
    server = uvicorn.Server(
        uvicorn.Config(create_app(Service(Model.load(), archive)), host="127.0.0.1", port=0, log_level="warning")
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.05)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        for block in found_in(page):
            if block.how == "server":
                run(block, {"__name__": "page"}, block.code.replace("127.0.0.1:8377", f"127.0.0.1:{port}"))
    finally:
        server.should_exit = True
        thread.join(30)


class TestMarks:
    """The reader of pages itself: it must not pass over what is wrong."""

    def page(self, tmp_path, text):
        page = tmp_path / "page.md"
        page.write_text(text)
        return page

    def test_a_swap_that_finds_nothing_is_an_error(self, tmp_path):
        page = self.page(tmp_path, '<!-- test: with "n=5" as "n=1" -->\n```python\nn = 5\n```\n')
        with pytest.raises(AssertionError, match="not in the block"):
            blocks(page)[0].small()

    def test_parse_only_needs_a_reason(self, tmp_path):
        with pytest.raises(AssertionError, match="no reason"):
            blocks(self.page(tmp_path, "<!-- test: parse only -->\n```sh\nsolquery info\n```\n"))

    @pytest.mark.parametrize(
        "command",
        [
            "solquery no-such-verb",
            "solquery info --no-such-option",
            "solquery generate -n many",
            "solquery train generator --presset paper",
            "make no-such-target",
            'pip install "solquery[nothing]"',
            "python benchmarks/no_such_file.py",
            "python benchmarks/reading.py --no-such-option 3",
            "frobnicate --hard",
        ],
    )
    def test_what_does_not_exist_is_found(self, tmp_path, command):
        (block,) = blocks(self.page(tmp_path, f"```sh\n{command}\n```\n"))
        with pytest.raises(AssertionError):
            check(block)

    def test_a_failing_command_fails_the_page(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        (block,) = blocks(self.page(tmp_path, "```sh\nsolquery archive info nowhere\n```\n"))
        check(block)
        with pytest.raises(AssertionError, match="exit 1"):
            run(block, {})

    def test_an_error_names_the_line_of_the_page(self, tmp_path):
        (block,) = blocks(self.page(tmp_path, "# Title\n\n```python\nx = 1\nx.nothing\n```\n"))
        with pytest.raises(AttributeError) as error:
            run(block, {})
        assert error.traceback[-1].lineno + 1 == 5
