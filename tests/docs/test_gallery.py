"""Every example of the gallery runs, and draws what its page shows."""

from __future__ import annotations

import warnings

import pytest
from page_blocks import ROOT, own_registry

# the pages are built with the numbers that are written; here, what takes longest takes fewer
SMALLER = {
    "plot_invert_observations": ("starts=2, steps=50", "starts=1, steps=12"),
    "plot_change_the_tilt": ("starts=2, steps=40", "starts=1, steps=10"),
}
EXAMPLES = sorted((ROOT / "docs" / "examples").glob("plot_*.py"))


def test_there_are_examples():
    assert len(EXAMPLES) >= 10


def _code(example):
    code = example.read_text()
    if example.stem in SMALLER:
        written, smaller = SMALLER[example.stem]
        assert code.count(written) == 1
        code = code.replace(written, smaller)
    return code


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs(example, tmp_path, monkeypatch):
    import matplotlib.pyplot as plt

    monkeypatch.chdir(tmp_path)
    drawn = []
    monkeypatch.setattr(plt, "show", lambda: drawn.extend(plt.get_fignums()))
    try:
        with own_registry(), warnings.catch_warnings():
            exec(compile(_code(example), str(example), "exec"), {"__name__": "__main__"})
        assert drawn
        # a picture that is one grey says that the fields were out of the colours' range
        for number in set(drawn):
            figure = plt.figure(number)
            images = [image.get_array() for axis in figure.axes for image in axis.images]
            assert images and all(image.std() > 0 for image in images)
    finally:
        plt.close("all")
