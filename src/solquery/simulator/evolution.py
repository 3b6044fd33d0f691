"""The life of a region: emergence, transport, spots and decay, from a plan to snapshots.

In each step of time new flux emerges in small bipoles between the polarities of a bipole ("serpentine" emergence:
Cheung et al. 2010). Its elements migrate to the clumps and spots of their own sign; spots take up what reaches them,
and shed it again as they decay. Everything else is moved by convection and cancels where signs meet.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..aliases import Document
from .constants import MX_PER_G_MM2, RATES, Rates
from .convection import Cells, outflow
from .elements import Elements, cancel, clear_moats, density, push
from .population import Bipole, Polarity, RegionPlan
from .state import Snapshot, SpotState

__all__ = ["Evolution"]

#: hours that an element pursues its goal
_GOAL_H = 40.0
#: a spot weaker than this has no coherence and dissolves, Mx
_LEAST_SPOT_MX = 2.5e19
_GRID_MM = 1.0


@dataclass
class _Bound:
    """A polarity in a running simulation, with the numbers of its goals: clumps first, then spots."""

    bipole: Bipole
    polarity: Polarity
    first_goal: int
    spots: list[SpotState]


class Evolution:
    """A region that lives: `advance` lets time pass, `snapshot` tells what there is.

    Parameters
    ----------
    plan
        What `population.draw_region` drew.
    rng
        Generator of all that is random from here on.
    rates
        Rates of the transport.
    """

    def __init__(self, plan: RegionPlan, rng: np.random.Generator, rates: Rates = RATES) -> None:
        self.plan, self.rates, self._rng = plan, rates, rng
        low, high = _extent(plan.bipoles, rates.plage_mm)
        margin = np.array([34.0, 44.0])
        self.size_mm = np.maximum(high - low + 2 * margin, [110.0, 160.0])
        self.middle = self.size_mm / 2 - (low + high) / 2  # of the region, from the corner
        height, width = self.size_mm
        self._super = Cells(
            height, width, rates.supergranule_mm, rates.supergranule_life_h, rates.supergranule_speed, rng
        )
        self._meso = Cells(height, width, rates.mesogranule_mm, rates.mesogranule_life_h, rates.mesogranule_speed, rng)
        self.elements = Elements()
        total = sum(2 * b.flux_mx for b in plan.bipoles)
        self.element_mx = float(np.clip(total / 7000.0, 4.5e17, 4e18))
        self.time_h = 0.0
        self._emerged = [0.0] * len(plan.bipoles)
        self.born_mx = 0.0
        self._bind()
        self._fill()

    def _bind(self) -> None:
        self._bound: list[_Bound] = []
        count = 0
        for bipole in self.plan.bipoles:
            for polarity in bipole.polarities:
                first = count
                count += len(polarity.clumps)
                spots = []
                for plan in polarity.spots:
                    life = polarity.spot_life_h * plan.life
                    fed = bipole.emerges_h + bipole.rise_h + _GOAL_H
                    spots.append(SpotState(0.0, 0.0, 0.0, polarity.sign, plan, count, polarity.side, life, fed))
                    count += 1
                self._bound.append(_Bound(bipole, polarity, first, spots))
        self._goal_y, self._goal_x = np.zeros(count), np.zeros(count)
        self.spots = [spot for bound in self._bound for spot in bound.spots]

    def _fill(self) -> None:
        """The network that is there already, and the remains of older regions."""
        rng, rates = self._rng, self.rates
        height, width = self.size_mm
        n = int(height * width * MX_PER_G_MM2 * rates.quiet_gauss / rates.ephemeral_mx)
        flux = rates.ephemeral_mx * rng.lognormal(0, 0.5, n) * rng.choice([-1.0, 1.0], n)
        self.elements.add(rng.uniform(0, height, n), rng.uniform(0, width, n), flux, age_h=_GOAL_H)
        for old in self.plan.old:
            m = int(abs(old.flux_mx) / self.element_mx)
            place = self.size_mm / 2 + old.centre_mm + rng.normal(0, 1, (m, 2)) * old.size_mm
            share = np.sign(old.flux_mx) * self.element_mx * rng.lognormal(-0.32, 0.8, m)
            self.elements.add(place[:, 0], place[:, 1], share, age_h=_GOAL_H)
        for _ in range(12):
            self._transport(3.0)

    # -- one step ------------------------------------------------------------------------------------------------

    def advance(self, until_h: float, step_h: float) -> None:
        """Let time pass until `until_h` hours after the first emergence, in steps of `step_h` or a little less."""
        steps = int(np.ceil((until_h - self.time_h) / step_h - 1e-9))
        for _ in range(steps):
            hours = (until_h - self.time_h) / steps
            steps -= 1
            self.time_h += hours
            self._emerge(hours)
            self._settle_spots(hours)
            self._transport(hours)

    def _transport(self, hours: float) -> None:
        rng, rates, e = self._rng, self.rates, self.elements
        height, width = self.size_mm
        self._super.advance(hours, rng)
        self._meso.advance(hours, rng)
        born = rng.poisson(height * width * hours * rates.ephemeral_per_mm2_h)
        if born:
            middle = rng.uniform(0, 1, (born, 2)) * self.size_mm
            apart = rng.normal(0, 1.6, (born, 2))
            flux = rates.ephemeral_mx * 10.0 ** rng.normal(0, rates.ephemeral_scatter, born)
            place = np.concatenate([middle + apart, middle - apart])
            e.add(place[:, 0], place[:, 1], np.concatenate([flux, -flux]))
        self._emerge_within(hours)
        field = density(e, height, width, _GRID_MM)
        flows = []
        for cells in (self._super, self._meso):
            vy, vx = np.zeros(len(e)), np.zeros(len(e))
            outflow(
                e.y, e.x, cells.y, cells.x, cells.strength, cells.y0, cells.x0, cells.spacing_mm, cells.speed, vy, vx
            )
            flows += [vy, vx]
        walk = rng.standard_normal((2, len(e)), dtype=np.float32)
        push(
            e.y, e.x, e.age_h, e.goal, e.aim_y, e.aim_x, field, _GRID_MM, rates.supergranule_quench_gauss,
            rates.mesogranule_quench_gauss, self._goal_y, self._goal_x, _GOAL_H, rates.migration_speed, hours,
            flows[0], flows[1], flows[2], flows[3], walk[0], walk[1],
            float(np.sqrt(2 * rates.granular_diffusivity * hours)),
        )  # fmt: skip
        self._spots_take_in(hours)
        share = 1.0 - float(np.exp(-rates.cancel_per_h * hours))
        shift = rng.uniform(0, rates.cancel_mm, 2)
        e.cancelled_mx += cancel(
            e.y, e.x, e.flux_mx, e.age_h, rates.young_h, rates.young_cancel, rates.cancel_mm, share, height, width,
            shift[0], shift[1],
        )  # fmt: skip
        e.tidy(height, width)

    def _emerge_within(self, hours: float) -> None:
        """Small bipoles in the plage of the region, near its elements."""
        rng, rates, e = self._rng, self.rates, self.elements
        own = np.flatnonzero(e.goal >= 0)
        area = 4.0 * np.std(e.y[own]) * np.std(e.x[own]) * np.pi if len(own) > 20 else 0.0
        born = int(rng.poisson(area * hours * rates.inner_per_mm2_h))
        if not born:
            return
        at = own[rng.integers(0, len(own), born)]
        middle = np.column_stack([e.y[at], e.x[at]]) + rng.normal(0, 5.0, (born, 2))
        apart = rng.normal(0, 2.0, (born, 2))
        flux = rates.inner_mx * 10.0 ** rng.normal(0, rates.ephemeral_scatter, born)
        place = np.concatenate([middle + apart, middle - apart])
        e.add(place[:, 0], place[:, 1], np.concatenate([flux, -flux]))

    def _spots_take_in(self, hours: float) -> None:
        alive = [s for s in self.spots if s.flux_mx > 0 or self.time_h < s.fed_until_h]
        if not alive:
            return
        e = self.elements
        radius = np.array([1.3 * s.width_mm if s.flux_mx > 0 else 0.0 for s in alive])
        gain = np.zeros(len(alive))
        e.cancelled_mx += clear_moats(
            e.y, e.x, e.flux_mx, e.goal, e.age_h, _GOAL_H, np.array([s.y for s in alive]),
            np.array([s.x for s in alive]), radius, np.array([float(s.sign) for s in alive]),
            np.array([s.goal for s in alive]), self.rates.moat_speed, hours, gain,
        )  # fmt: skip
        for spot, flux in zip(alive, gain, strict=True):
            spot.flux_mx += spot.sign * float(flux)
            if spot.flux_mx < 0:  # more of the other sign came than it had: the rest is set free
                self.elements.add(np.array([spot.y]), np.array([spot.x]), np.array([spot.sign * spot.flux_mx]))
                spot.flux_mx = 0.0

    # -- emergence -----------------------------------------------------------------------------------------------

    def _separation(self, bipole: Bipole) -> float:
        t = max(self.time_h - bipole.emerges_h, 0.0)
        grown = 1.0 - np.exp(-t / (0.9 * bipole.rise_h))
        return bipole.separation_mm * (bipole.start_separation + (1 - bipole.start_separation) * float(grown))

    def _emerge(self, hours: float) -> None:
        for k, bipole in enumerate(self.plan.bipoles):
            t = np.clip((self.time_h - bipole.emerges_h) / bipole.rise_h, 0.0, 1.0)
            emerged = float(t * t * (3 - 2 * t))
            new, self._emerged[k] = (emerged - self._emerged[k]) * bipole.flux_mx, emerged
            self._place_goals(k)
            if new > 0:
                self._emerge_events(k, new)

    def _place_goals(self, k: int) -> None:
        bipole, separation = self.plan.bipoles[k], self._separation(self.plan.bipoles[k])
        angle = np.radians(bipole.tilt_deg)
        axis = np.array([np.sin(angle), np.cos(angle)])
        emerged = max(self._emerged[k], 0.02)
        size = _plage_size(separation, bipole.flux_mx * emerged, self.rates.plage_mm)
        for bound in self._bound[2 * k : 2 * k + 2]:
            p = bound.polarity
            centre = self.middle + bipole.centre_mm + 0.5 * p.side * separation * axis
            n = len(p.clumps)
            self._goal_y[bound.first_goal : bound.first_goal + n] = centre[0] + size[0] * p.clumps[:, 0]
            self._goal_x[bound.first_goal : bound.first_goal + n] = centre[1] + size[1] * p.clumps[:, 1]
            bound_mx = p.spot_fraction * bipole.flux_mx * emerged
            cluster = 2.6 * np.sqrt(bound_mx / 1e21) + 0.05 * separation
            for spot in bound.spots:
                y, x = centre + spot.plan.offset * cluster
                if spot.flux_mx > 0:  # a spot drifts, it does not jump
                    y, x = spot.y + 0.3 * (y - spot.y), spot.x + 0.3 * (x - spot.x)
                spot.y, spot.x = float(y), float(x)
                self._goal_y[spot.goal], self._goal_x[spot.goal] = y, x

    def _emerge_events(self, k: int, new_mx: float) -> None:
        """New flux of both signs comes up in small bipoles along the axis between the polarities."""
        rng, bipole = self._rng, self.plan.bipoles[k]
        pairs = int(rng.poisson(new_mx / self.element_mx))
        if not pairs:
            return
        scatter = self.rates.element_scatter
        flux = self.element_mx * rng.lognormal(-0.5 * scatter**2, scatter, pairs)
        self.born_mx += 2 * float(flux.sum())
        events = max(1, pairs // 14)
        separation = self._separation(bipole)
        angle = np.radians(bipole.tilt_deg)
        axis, across = np.array([np.sin(angle), np.cos(angle)]), np.array([np.cos(angle), -np.sin(angle)])
        wide = 0.10 * separation + 1.5 * np.sqrt(bipole.flux_mx * max(self._emerged[k], 0.02) / 1e21)
        along = rng.uniform(-0.4, 0.4, (events, 1)) * separation
        middle = self.middle + bipole.centre_mm + along * axis + rng.normal(0, wide, (events, 1)) * across
        turn = angle + rng.normal(0, 0.6, events)
        length = rng.uniform(0.8, 2.5, (events, 1))
        lay = np.column_stack([np.sin(turn), np.cos(turn)]) * length
        which = rng.integers(0, events, pairs)
        for bound in self._bound[2 * k : 2 * k + 2]:
            p = bound.polarity
            place = middle[which] + p.side * lay[which] + rng.normal(0, 0.7, (pairs, 2))
            goal, aim = self._draw_goals(bound, pairs, separation, k)
            self.elements.add(
                place[:, 0], place[:, 1], p.sign * flux, goal, aim,
            )  # fmt: skip

    def _draw_goals(self, bound: _Bound, count: int, separation: float, k: int) -> tuple[np.ndarray, np.ndarray]:
        rng, p = self._rng, bound.polarity
        size = _plage_size(separation, bound.bipole.flux_mx * max(self._emerged[k], 0.02), self.rates.plage_mm)
        goal = bound.first_goal + rng.choice(len(p.clumps), count, p=p.weights)
        aim = rng.normal(0, 1, (count, 2)) * p.tightness * size
        to_spot = rng.random(count) < p.spot_fraction
        share = np.array([s.plan.share for s in bound.spots])
        which = rng.choice(len(share), count, p=share / share.sum())
        goal = np.where(to_spot, np.array([s.goal for s in bound.spots])[which], goal)
        aim[to_spot] = 0.0
        return goal, aim

    # -- spots ---------------------------------------------------------------------------------------------------

    def _settle_spots(self, hours: float) -> None:
        """Spots keep their distance, decay, and dissolve when little is left."""
        self._part_spots()
        rng, e = self._rng, self.elements
        for bound in self._bound:
            past = self.time_h - bound.bipole.emerges_h - bound.bipole.rise_h
            if past <= 0:
                continue
            for spot in bound.spots:
                if spot.flux_mx <= 0:
                    continue
                lost = spot.flux_mx * (1.0 - float(np.exp(-hours / spot.life_h)))
                if spot.flux_mx - lost < _LEAST_SPOT_MX and past > _GOAL_H:
                    lost = spot.flux_mx
                n = int(rng.poisson(lost / self.element_mx)) if lost < spot.flux_mx else 1 + int(lost / self.element_mx)
                lost = min(n * self.element_mx, spot.flux_mx) if lost < spot.flux_mx else lost
                if n == 0 or lost <= 0:
                    continue
                turn, reach = rng.uniform(0, 2 * np.pi, n), 1.3 * spot.width_mm * rng.uniform(0.95, 1.3, n)
                e.add(
                    spot.y + reach * np.sin(turn), spot.x + reach * np.cos(turn), np.full(n, spot.sign * lost / n),
                    spot.goal, age_h=_GOAL_H,
                )  # fmt: skip
                spot.flux_mx -= lost
                self._moving_features(spot, hours)

    def _moving_features(self, spot: SpotState, hours: float) -> None:
        """Small bipoles in the moat (Harvey & Harvey 1973)."""
        rng, radius = self._rng, 1.3 * spot.width_mm
        pairs = int(rng.poisson(0.05 * radius * hours)) if radius > 5.0 else 0
        if pairs:
            turn = rng.uniform(0, 2 * np.pi, pairs)
            flux = 6e17 * rng.lognormal(0, 0.4, pairs)
            for shift, sign in ((1.15, 1.0), (1.35, -1.0)):
                y, x = spot.y + shift * radius * np.sin(turn), spot.x + shift * radius * np.cos(turn)
                self.elements.add(y, x, sign * flux, age_h=_GOAL_H)

    def _part_spots(self) -> None:
        """Spots do not pass through each other: touching ones slide along."""
        alive = [s for s in self.spots if s.flux_mx > 0]
        for i, a in enumerate(alive):
            for b in alive[i + 1 :]:
                least = (0.85 if a.sign == b.sign else 0.95) * (a.width_mm + b.width_mm)
                dy, dx = b.y - a.y, b.x - a.x
                d = float(np.hypot(dy, dx)) + 1e-6
                if d < least:
                    push_mm = 0.5 * (least - d) / d
                    total = a.flux_mx + b.flux_mx
                    a.y -= push_mm * dy * 2 * b.flux_mx / total
                    a.x -= push_mm * dx * 2 * b.flux_mx / total
                    b.y += push_mm * dy * 2 * a.flux_mx / total
                    b.x += push_mm * dx * 2 * a.flux_mx / total
        for spot in alive:
            self._goal_y[spot.goal], self._goal_x[spot.goal] = spot.y, spot.x

    # -- what there is -------------------------------------------------------------------------------------------

    def snapshot(self) -> Snapshot:
        """Copies of elements and spots, and the true state of each bipole that has begun to emerge."""
        e = self.elements
        spots = [SpotState(**vars(s)) for s in self.spots if s.flux_mx >= _LEAST_SPOT_MX]
        states = []
        for k, bipole in enumerate(self.plan.bipoles):
            if self._emerged[k] <= 0:
                continue
            state: Document = {
                "separation_mm": self._separation(bipole), "emerged": self._emerged[k], "spot_mx": [], "small_mx": [],
                "centroids_mm": [],
            }  # fmt: skip
            for bound in self._bound[2 * k : 2 * k + 2]:
                last = bound.first_goal + len(bound.polarity.clumps) + len(bound.spots)
                own = (e.goal >= bound.first_goal) & (e.goal < last)
                weight = np.concatenate([np.abs(e.flux_mx[own]), [s.flux_mx for s in bound.spots]])
                y = np.concatenate([e.y[own], [s.y for s in bound.spots]])
                x = np.concatenate([e.x[own], [s.x for s in bound.spots]])
                total = float(weight.sum())
                state["spot_mx"].append(float(sum(s.flux_mx for s in bound.spots)))
                state["small_mx"].append(float(np.abs(e.flux_mx[own]).sum()))
                state["centroids_mm"].append(
                    [float((weight * y).sum() / total), float((weight * x).sum() / total)] if total else None
                )
            states.append(state)
        return Snapshot(
            e.y.astype(np.float32), e.x.astype(np.float32), e.flux_mx.astype(np.float32), e.goal >= 0, spots, states,
            self.plan.record.get("shear", 0.0),
        )  # fmt: skip

    @property
    def net_mx(self) -> float:
        """Net flux of elements and spots together with what was dropped or has left: zero but for old flux."""
        e = self.elements
        return float(e.flux_mx.sum()) + sum(s.sign * s.flux_mx for s in self.spots) + e.dropped_mx + e.left_mx


def _plage_size(separation_mm: float, flux_mx: float, plage_mm: float) -> np.ndarray:
    """How far the plage of a polarity reaches, (y, x) in Mm: the two polarities of a bipole come to touch."""
    return np.array([0.12, 0.16]) * separation_mm + plage_mm * np.sqrt(flux_mx / 1e21)


def _extent(bipoles: list[Bipole], plage_mm: float) -> tuple[np.ndarray, np.ndarray]:
    """Corners (y, x) of the rectangle that the polarities of all bipoles come to fill, Mm from the region's middle."""
    low, high = np.full(2, np.inf), np.full(2, -np.inf)
    for bipole in bipoles:
        angle = np.radians(bipole.tilt_deg)
        axis = np.array([np.sin(angle), np.cos(angle)])
        size = _plage_size(bipole.separation_mm, bipole.flux_mx, plage_mm)
        for side in (-1, 1):
            centre = bipole.centre_mm + 0.5 * side * bipole.separation_mm * axis
            low, high = np.minimum(low, centre - 1.2 * size), np.maximum(high, centre + 1.2 * size)
    return low, high
