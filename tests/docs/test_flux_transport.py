"""The flux transport of docs/examples against what is known without it: dipoles of bipoles, and what they leave."""

import csv
import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest
from page_blocks import ROOT

SCRIPT = ROOT / "docs" / "examples" / "flux_transport.py"
BIPOLES = Path(__file__).parents[3] / "shared/data/tables/bipoles.csv"


@pytest.fixture(scope="module")
def transport():
    import sys

    spec = importlib.util.spec_from_file_location("flux_transport", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["flux_transport"] = module  # dataclasses look there
    spec.loader.exec_module(module)
    yield module
    del sys.modules["flux_transport"]


def table(path, rows):
    with path.open("w", newline="") as file:
        names = ["id", "latitude_deg", "separation_deg", "tilt_deg", "leading_polarity", "positive_mx", "negative_mx"]
        writer = csv.writer(file)
        writer.writerows([names, *rows])
    return path


def test_a_bipole_emerges_with_its_analytic_dipole(transport):
    """3 F (sin b+ - sin b-) / (4 pi R^2), whatever the cells: Wang and Sheeley 1991."""
    for cells in (60, 360):
        for high, low in ((12.3, 9.8), (-4.0, 5.5), (71.0, 70.2)):
            sun = transport.FluxTransport(cells)
            sun.emerge(transport.Bipole(high, low, 1e22))
            known = 3e22 * (np.sin(np.radians(high)) - np.sin(np.radians(low))) / (4 * np.pi * 6.96e10**2)
            assert sun.dipole == pytest.approx(known, rel=1e-9)
            assert transport.Bipole(high, low, 1e22).dipole == pytest.approx(known, rel=1e-12)
            assert abs(sun.field.sum()) < 1e-12 * np.abs(sun.field).sum()


def test_diffusion_alone_decays_a_dipole_at_the_known_rate(transport, monkeypatch):
    """sin(latitude) is a mode of the sphere: it decays with 2 eta / R^2."""
    monkeypatch.setattr(transport, "FLOW_M_S", 0.0)
    sun = transport.FluxTransport()
    sun.field = sun.sine.copy()
    for _ in range(500):
        sun.step()
    rate = 2 * 250e10 / 6.96e10**2
    assert sun.dipole == pytest.approx(np.exp(-rate * 1000 * 86400), rel=1e-3)
    np.testing.assert_allclose(sun.field / sun.dipole, sun.sine, atol=1e-3)


def test_the_flow_carries_a_ring_along_its_streamline(transport, monkeypatch):
    """Without diffusion the tangent of an angle grows exponentially: d(latitude)/dt = u(latitude) / R."""
    monkeypatch.setattr(transport, "DIFFUSIVITY_KM2_S", 20.0)  # as little as the cells bear
    sun = transport.FluxTransport(720, 1.0)
    start = np.radians(25.0)
    sun.field = np.exp(-0.5 * ((np.arcsin(sun.sine) - start) / 0.05) ** 2)
    flux = sun.field.sum()
    for _ in range(200):
        sun.step()
    slope = np.pi / np.radians(75.0)
    reached = 2 / slope * np.arctan(np.tan(slope * start / 2) * np.exp(slope * 1100 / 6.96e10 * 200 * 86400))
    middle = np.arcsin(np.sum(sun.field * sun.sine) / sun.field.sum())
    assert np.degrees(middle) == pytest.approx(np.degrees(reached), abs=0.5)
    assert sun.field.sum() == pytest.approx(flux, rel=1e-10)


def test_what_a_bipole_leaves_follows_the_gaussian_law(transport):
    """D_U ~ exp(-b^2 / 2 b_R^2), b_R^2 = eta / (R^2 du/db): Jiang et al. 2014, Petrovay, Nagy and Yeates 2020."""
    width = transport.dynamo_range_deg()
    assert width == pytest.approx(np.degrees(np.sqrt(250e10 / (6.96e10 * 1100 * 2.4))), rel=1e-12)

    def left(latitude):
        return transport.ultimate_dipole(transport.Bipole(latitude + 0.25, latitude - 0.25, 1e22))

    equator = left(0.0)
    assert equator > transport.Bipole(0.25, -0.25, 1e22).dipole  # more than it emerged with
    for latitude in (3.0, 6.0, 9.0, -6.0, 12.0):
        law = np.exp(-(latitude**2) / (2 * width**2))
        # the flow is not linear far from the equator: the law is one of low latitudes
        assert left(latitude) / equator == pytest.approx(law, abs=0.03)
    assert abs(left(30.0)) < 0.01 * equator


def test_tables_and_command(transport, tmp_path, capsys):
    """A leading pole that is positive and further north has its flux there; ordinary tilt and rogue one cancel."""
    north = table(tmp_path / "n.csv", [("a", 10.0, 6.0, -30.0, -1, 2e22, -8e22)])
    (bipole,) = transport.read_bipoles(north)
    # the leading, negative pole is 1.5 degrees to the south
    assert bipole.latitude_positive == pytest.approx(11.5) and bipole.latitude_negative == pytest.approx(8.5)
    assert bipole.flux == pytest.approx(4e22) and bipole.dipole > 0
    rogue = table(tmp_path / "r.csv", [("b", 10.0, 6.0, -30.0, 1, 4e22, 4e22)])
    picture = tmp_path / "d.png"
    transport.main([str(north), "--rogue", str(rogue), "--years", "0", "--after", "5", "--out", str(picture)])
    told = capsys.readouterr().out
    alone, both = (float(x) for x in re.search(r"leave (\S+) G, with 1 rogue ones (\S+) G", told).groups())
    assert alone == pytest.approx(transport.ultimate_dipole(bipole, 5), abs=0.006) and abs(both) < 0.01 < alone / 10
    assert picture.stat().st_size > 10_000
    (tmp_path / "no.csv").write_text("id,flux\n")
    with pytest.raises(SystemExit, match="has no column latitude_deg"):
        transport.read_bipoles(tmp_path / "no.csv")
    with pytest.raises(SystemExit, match="row 2: not a number"):
        transport.read_bipoles(table(tmp_path / "no.csv", [("a", "north", 6, 5, 1, 1, 1)]))


@pytest.mark.skipif(not BIPOLES.exists(), reason="needs the table of observed bipoles")
def test_observed_bipoles_have_their_published_dipoles(transport):
    """R. Wang's table of 2,854 observed bipoles: axial dipole at emergence, and what a published model leaves of it."""
    with BIPOLES.open() as file:
        rows = [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]
    bipoles = [
        transport.Bipole(r["Lat(pos)"], r["Lat(neg)"], (r["Flux(pos, Mx)"] - r["Flux(neg, Mx)"]) / 2) for r in rows
    ]
    initial = np.array([b.dipole for b in bipoles]) / [r["Di_bmr(G)"] for r in rows]
    assert np.median(initial) == pytest.approx(1.0, abs=0.01)
    left = [transport.ultimate_dipole(b) for b in bipoles[::200]]
    assert np.corrcoef(left, [r["Df_bmr(G)"] for r in rows[::200]])[0, 1] > 0.95
