"""Figures and pictures: what is drawn, labelled and marked."""

import io

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread
from PIL import Image

from solquery.physics import measure
from solquery.steering.projection import Projection
from solquery.study import PAPER, PARAMETERS
from solquery.study.figures import (
    KIND_COLOURS,
    figure_correlations,
    figure_joint,
    figure_patch,
    figure_zoo,
    png,
    prefixed,
    tile_png,
)
from solquery.study.magnetogram import grey_bar, show_field, stretched
from solquery.study.report import badge, parameter_text, quantity, table
from solquery.study.reproduce_figures import figure_plane, write_figure
from solquery.study.retrieval import METHODS

RNG = np.random.default_rng(0)


def test_tile_has_north_up_and_grey_from_minus_to_plus_1000_gauss():
    field = np.zeros((4, 6), np.float32)
    field[0, 0], field[3, 5], field[1, 1] = -2000.0, 1500.0, np.nan
    image = imread(io.BytesIO(tile_png(field, zoom=3)))
    assert image.shape == (12, 18)
    assert image[-1, 0] == 0.0 and image[0, -1] == 1.0
    assert image[4, 8] == pytest.approx(0.5, abs=0.01)


def test_greys_are_linear_for_weak_field_and_show_it_beside_spots():
    grey = stretched(np.array([-1000.0, -1.0, 0.0, 1.0, 50.0, 1000.0, 3000.0]))
    assert grey[[0, 2, 5, 6]].tolist() == pytest.approx([-1, 0, 1, 1], abs=1e-6)
    assert grey[1] == -grey[3] and grey[3] == pytest.approx(0.01 / np.arcsinh(10), rel=1e-3)
    # a linear scale would give plage of 50 G a twentieth of the grey of a spot
    assert 0.14 < grey[4] < 0.18


def test_the_scale_of_the_greys_names_its_ends_for_any_limit():
    drawn = Figure()
    axes = drawn.add_subplot()
    bar = grey_bar(drawn, show_field(axes, np.zeros((4, 4)), limit_gauss=2.0), axes)
    drawn.canvas.draw()
    assert [label.get_text() for label in bar.ax.get_xticklabels()] == ["−2", "−0.6", "−0.2", "0", "0.2", "0.6", "2"]


def test_patch_axes_are_in_megametres_where_the_scale_is_known():
    drawn = figure_patch(RNG.normal(0, 300, (40, 80)), "real", "HARP 1", (0.5, 0.25))
    (axes,) = drawn.axes
    (bar,) = axes.child_axes
    assert "Mm" in axes.get_xlabel() and bar.get_ylabel() == "field (G)"
    assert axes.get_title().startswith("real")
    image = axes.get_images()[0]
    assert image.get_extent() == [0.0, 20.0, 0.0, 20.0] and image.get_clim() == (-1000, 1000)
    assert image.origin == "lower"
    assert "pixel" in figure_patch(np.zeros((32, 32)), "generated").axes[0].get_xlabel()


def test_patch_marks_the_centroids_whose_distance_is_psep():
    field = np.zeros((40, 80), np.float32)
    field[10:13, 20:23], field[30:33, 60:63] = 800, -800
    drawn = figure_patch(field, "simulated", scale_mm=(0.5, 0.25))
    places = {(float(line.get_xdata()[0]), float(line.get_ydata()[0])) for line in drawn.axes[0].get_lines()}
    # centres of the pixels (11, 21) and (31, 61)
    assert places == {(5.375, 5.75), (15.375, 15.75)}
    apart = np.diff(sorted(places), axis=0)[0]
    assert np.hypot(*apart) == pytest.approx(float(measure(field, (0.5, 0.25), ["psep"])["psep"][0]))


def test_zoo_frames_each_patch_in_the_colour_of_its_kind():
    kinds = ["simulated"] * 5 + ["real"] * 2
    drawn = figure_zoo(RNG.normal(0, 300, (7, 16, 16)), kinds, "zoo", columns=3)
    axes = drawn.axes[0]
    colours = [matplotlib.colors.to_hex(frame.get_edgecolor()) for frame in axes.patches]
    assert colours == [KIND_COLOURS[kind] for kind in kinds]
    (legend,) = drawn.legends
    assert [text.get_text() for text in legend.get_texts()] == ["real", "simulated"]
    # the first patch is at the top left, as one reads
    first, last = axes.patches[0], axes.patches[-1]
    assert first.get_y() > last.get_y() and first.get_x() == last.get_x()


def test_zoo_of_one_kind_needs_no_legend():
    assert not figure_zoo(RNG.normal(0, 300, (4, 16, 16)), ["generated"] * 4, "zoo", columns=2).legends


@pytest.mark.parametrize("name", PARAMETERS)
def test_joint_histogram_has_marginals_labels_and_units(name):
    query = np.abs(RNG.normal(4e5, 1e5, 200))
    match = query + RNG.normal(0, 5e4, 200)
    match[3] = np.nan
    drawn = figure_joint(name, query, match, match, {"pearson": 0.5, "spearman": 0.25})
    main, top, right = drawn.axes
    assert "query" in main.get_xlabel() and "match" in main.get_ylabel()
    assert main.get_xlim() == main.get_ylim()
    if name in ("tuf", "r", "tpf", "tnf"):
        assert "kG pix" in main.get_xlabel() and main.get_xlim()[1] < 1e4
    assert "Pearson 0.50, Spearman 0.25" in drawn.get_suptitle()
    assert top.patches and right.patches


def test_joint_histogram_of_nothing_is_drawn_all_the_same():
    nothing = np.full(5, np.nan)
    png(figure_joint("psep", nothing, nothing, nothing, {"pearson": np.nan, "spearman": np.nan}), dpi=40)


def test_correlations_show_every_method_beside_the_paper():
    found = {method: {name: {"pearson": 0.5, "spearman": 0.4} for name in PARAMETERS} for method in METHODS}
    drawn = figure_correlations(found, PAPER)
    assert [axes.get_xlabel().split()[0] for axes in drawn.axes] == ["Pearson", "Spearman"]
    for axes in drawn.axes:
        assert sum(len(line.get_xdata()) == len(PARAMETERS) for line in axes.get_lines()) == len(METHODS) + 1
    assert [label.get_text() for label in drawn.axes[0].get_yticklabels()] == [name.upper() for name in PARAMETERS]
    assert png(drawn, dpi=40).startswith(b"\x89PNG")


def test_prefixes():
    assert prefixed([3e6, np.nan], "G pix") == (1e6, "MG pix")
    assert prefixed([3e4], "G pix") == (1e3, "kG pix")
    assert prefixed([30.0], "pix") == (1.0, "pix")
    assert prefixed([3e22], "Mx")[0] == pytest.approx(1e22)


@pytest.mark.parametrize(
    "value, unit, text",
    [
        (1.834e6, "G pix", "1.83 MG pix"),
        (41.27, "pix", "41.3 pix"),
        (3.21e22, "Mx", "3.21 × 10²² Mx"),
        (-3.21e22, "Mx", "−3.21 × 10²² Mx"),
        (-12.0, "deg", "−12.0 deg"),
        (0.0, "G pix", "0.00 G pix"),
        (float("nan"), "G", "–"),
        (None, "G", "–"),
    ],
)
def test_quantities_read_as_a_person_writes_them(value, unit, text):
    assert quantity(value, unit) == text


def test_polarity_is_written_in_words():
    assert [parameter_text("polarity", v) for v in (1.0, -1.0, float("nan"))] == ["positive", "negative", "–"]


def test_table_and_badge():
    html = table(["A", "B"], [["x", badge("real")]], left=(1,))
    assert html.count("<td") == 2 and "class=left" in html and ">real</span>" in html


def test_patches_on_the_latent_plane_do_not_cover_each_other():
    points = RNG.normal(size=(400, 2))
    projection = Projection(points, -1.0, 0.0, 1, (0, 1))
    drawn = figure_plane(projection, RNG.normal(0, 300, (400, 8, 8)), points.sum(1), "tuf")
    boxes = np.array([image.get_extent() for image in drawn.axes[0].get_images()])
    assert len(boxes) > 80
    apart_x = np.maximum(boxes[:, None, 0] - boxes[None, :, 1], boxes[None, :, 0] - boxes[:, None, 1])
    apart_y = np.maximum(boxes[:, None, 2] - boxes[None, :, 3], boxes[None, :, 2] - boxes[:, None, 3])
    covered = (apart_x < 0) & (apart_y < 0) & ~np.eye(len(boxes), dtype=bool)
    assert not covered.any()


def test_written_figures_keep_white_black_and_mid_grey(tmp_path):
    drawn = Figure(figsize=(2, 2))
    axes = drawn.add_axes((0.1, 0.1, 0.8, 0.8))
    axes.set_axis_off()
    show_field(axes, np.repeat([-2000.0, 0.3, -0.3, 2000.0], 10)[:, None] * np.ones((1, 40)))
    axes.plot([2, 30], [2, 2], color="#d62728")
    with Image.open(tmp_path / write_figure(drawn, tmp_path / "a.png", 100, 32)) as picture:
        assert picture.mode == "P"
        colours = np.asarray(picture.convert("RGB"))
    assert colours[0, 0].tolist() == [255, 255, 255]
    middle = np.unique(colours[90:110, 110:170].reshape(-1, 3), axis=0)
    assert len(middle) == 1 and np.ptp(middle) == 0  # ripples of a third of a gauss do not flicker
