"""
The Sun's axial dipole with and without rogue regions
=====================================================

Surface flux transport in one dimension: the field averaged over longitude, carried by a meridional flow and spread by
supergranular diffusion. Differential rotation drops out of the average. The regions are those of tables of bipoles that
``scripts/rogue_regions.py`` writes.

    python docs/examples/flux_transport.py ordinary/bipoles.csv --rogue rogue/bipoles.csv --out dipole.png
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.linalg import lu_factor, lu_solve

RSUN_CM = 6.96e10
DAY_S = 86_400.0
YEAR_DAYS = 365.25
#: of the meridional flow: amplitude (m/s) and the latitude (degrees) beyond which there is none (van Ballegooijen 1998)
FLOW_M_S, FLOW_ENDS_DEG = 11.0, 75.0
DIFFUSIVITY_KM2_S = 250.0


@dataclass(frozen=True)
class Bipole:
    """Two poles of one flux: latitudes in degrees, flux in Mx of each."""

    latitude_positive: float
    latitude_negative: float
    flux: float

    @property
    def dipole(self) -> float:
        """Axial dipole moment in G: 3 F (sin b+ - sin b-) / (4 pi R^2)."""
        sines = np.sin(np.radians([self.latitude_positive, self.latitude_negative]))
        return float(3 * self.flux * (sines[0] - sines[1]) / (4 * np.pi * RSUN_CM**2))


def read_bipoles(path: str | Path) -> list[Bipole]:
    """Bipoles of a table of ``scripts/rogue_regions.py``; both poles get the geometric mean of the two fluxes.

    The leading pole lies half the separation from the middle, to the north by the tilt where that is positive.
    """
    wanted = ("latitude_deg", "separation_deg", "tilt_deg", "leading_polarity", "positive_mx", "negative_mx")
    with Path(path).open(newline="") as file:
        table = csv.DictReader(file)
        lacking = [name for name in wanted if name not in (table.fieldnames or ())]
        if lacking:
            raise SystemExit(f"flux_transport: {path} has no column {', '.join(lacking)}; see scripts/rogue_regions.py")
        out = []
        for line, row in enumerate(table, start=2):
            try:
                latitude, separation, tilt, leading, positive, negative = (float(row[name]) for name in wanted)
            except (TypeError, ValueError):
                raise SystemExit(f"flux_transport: {path}, row {line}: not a number in {', '.join(wanted)}") from None
            up = leading * separation / 2 * np.sin(np.radians(tilt))
            out.append(Bipole(latitude + up, latitude - up, float(np.sqrt(abs(positive * negative)))))
    return out


def flow_cm_s(latitude: np.ndarray) -> np.ndarray:
    """Poleward meridional flow at latitudes in radians, northward positive."""
    ends = np.radians(FLOW_ENDS_DEG)
    return np.where(np.abs(latitude) < ends, 100 * FLOW_M_S * np.sin(np.pi * latitude / ends), 0.0)


def dynamo_range_deg() -> float:
    """Width of the Gaussian law of contributions in degrees: root of diffusivity over divergence of the flow at 0."""
    divergence = 100 * FLOW_M_S * np.pi / np.radians(FLOW_ENDS_DEG) / RSUN_CM
    return float(np.degrees(np.sqrt(DIFFUSIVITY_KM2_S * 1e10 / RSUN_CM**2 / divergence)))


class FluxTransport:
    """The mean field (N,) in G in N equal steps of sine latitude, by finite volumes and backward Euler steps.

    No flux passes the poles, so that what emerges balanced stays balanced to rounding.
    """

    def __init__(self, cells: int = 360, step_days: float = 2.0) -> None:
        self.step_days = step_days
        self.edges = np.linspace(-1, 1, cells + 1)
        self.sine = (self.edges[:-1] + self.edges[1:]) / 2
        self.width = 2 / cells
        inner = self.edges[1:-1]
        carried = flow_cm_s(np.arcsin(inner)) * np.sqrt(1 - inner**2) / RSUN_CM / 2
        spread = DIFFUSIVITY_KM2_S * 1e10 * (1 - inner**2) / RSUN_CM**2 / self.width
        # flux through each inner edge, northward, of the fields below and above it
        through = np.zeros((cells + 1, cells))
        k = np.arange(cells - 1)
        through[k + 1, k] = carried + spread
        through[k + 1, k + 1] = carried - spread
        change = -np.diff(through, axis=0) / self.width
        self._solved = lu_factor(np.eye(cells) - step_days * DAY_S * change)
        self.field = np.zeros(cells)

    def emerge(self, bipole: Bipole) -> None:
        """Add a bipole; each pole is shared by two cells so that its flux and its dipole are exact."""
        for sign, latitude in ((1, bipole.latitude_positive), (-1, bipole.latitude_negative)):
            at = (np.sin(np.radians(latitude)) + 1) / self.width - 0.5
            low = int(np.clip(np.floor(at), 0, len(self.field) - 2))
            share = at - low
            field = sign * bipole.flux / (2 * np.pi * RSUN_CM**2 * self.width)
            self.field[low] += (1 - share) * field
            self.field[low + 1] += share * field

    def step(self) -> None:
        """Go on by one step of time."""
        self.field = lu_solve(self._solved, self.field)

    @property
    def dipole(self) -> float:
        """Axial dipole moment in G: 3/2 of the mean of B sin(latitude) over the sine, from -1 to 1."""
        return float(1.5 * np.sum(self.field * self.sine) * self.width)


def run(
    bipoles: Iterable[tuple[float, Bipole]], years: float, cells: int = 360
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Emergences (day, bipole) carried for some years: times in years (T,), dipole in G (T,), field (T, cells)."""
    sun, waiting = FluxTransport(cells), sorted(bipoles, key=lambda pair: pair[0])
    times = np.arange(round(years * YEAR_DAYS / sun.step_days) + 1) * sun.step_days
    dipole, field = [], []
    for day in times:
        if day:
            sun.step()
        while waiting and waiting[0][0] <= day:
            sun.emerge(waiting.pop(0)[1])
        dipole.append(sun.dipole)
        field.append(sun.field)
    return times / YEAR_DAYS, np.array(dipole), np.array([f.copy() for f in field])


def ultimate_dipole(bipole: Bipole, years: float = 12.0) -> float:
    """Axial dipole in G that a bipole has left when its flux has come to the poles."""
    sun = FluxTransport()
    sun.emerge(bipole)
    for _ in range(round(years * YEAR_DAYS / sun.step_days)):
        sun.step()
    return sun.dipole


def dated(bipoles: list[Bipole], years: float, seed: int) -> list[tuple[float, Bipole]]:
    """Bipoles with days of emergence, drawn evenly: the tables have none."""
    days = np.random.default_rng(seed).uniform(0, years * YEAR_DAYS, len(bipoles))
    return list(zip(days.tolist(), bipoles, strict=True))


def draw(path: Path, times: np.ndarray, without: np.ndarray, both: np.ndarray, field: np.ndarray) -> None:
    """The field over time and sine latitude with the rogue regions, and the dipole with them and without."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 1, figsize=(8, 5.5), sharex=True, layout="constrained")
    limit = 3 * np.abs(field).mean()
    image = axes[0].imshow(
        field.T, cmap="gray", vmin=-limit, vmax=limit, origin="lower", aspect="auto", extent=(0, times[-1], -1, 1)
    )
    figure.colorbar(image, ax=axes[0], label="mean B (G)")
    axes[0].set(ylabel="sine of latitude", title="generated regions, carried in one dimension")
    axes[1].plot(times, without, label="ordinary regions")
    axes[1].plot(times, both, label="with rogue regions")
    axes[1].axhline(0, color="0.7", linewidth=0.8)
    axes[1].set(xlabel="years", ylabel="axial dipole (G)")
    axes[1].legend()
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Axial dipole of tables of bipoles, with and without rogue regions.")
    parser.add_argument("tables", nargs="+", type=Path, help="bipoles.csv of ordinary regions")
    parser.add_argument("--rogue", nargs="+", type=Path, default=[], help="bipoles.csv of rogue regions")
    parser.add_argument("--years", type=float, default=9.0, help="in which they emerge")
    parser.add_argument("--after", type=float, default=4.0, help="years more, in which their flux goes to the poles")
    parser.add_argument("--seed", type=int, default=0, help="of the days of emergence")
    parser.add_argument("--out", type=Path, default=Path("dipole.png"))
    asked = parser.parse_args(arguments)
    ordinary = dated([b for path in asked.tables for b in read_bipoles(path)], asked.years, asked.seed)
    rogue = dated([b for path in asked.rogue for b in read_bipoles(path)], asked.years, asked.seed + 1)
    times, without, _ = run(ordinary, asked.years + asked.after)
    _, both, field = run([*ordinary, *rogue], asked.years + asked.after)
    draw(asked.out, times, without, both, field)
    print(
        f"{len(ordinary)} ordinary regions leave {without[-1]:+.2f} G, with {len(rogue)} rogue ones {both[-1]:+.2f} G"
    )
    print(f"bipoles emerge with {sum(b.dipole for _, b in ordinary):+.2f} and {sum(b.dipole for _, b in rogue):+.2f} G")
    print(f"{asked.out}: the law of contributions is a Gaussian of {dynamo_range_deg():.1f} degrees about the equator")


if __name__ == "__main__":
    main()
