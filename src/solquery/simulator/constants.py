"""Units of the simulator and the rates of its physics, each with its source.

Lengths are megametres, times hours, fields gauss and fluxes maxwell, unless a name says otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DEGREE_MM", "MX_PER_G_MM2", "PIXEL_MM", "PIXEL_MX", "RATES", "ROTATION_DEG_PER_DAY", "Rates"]

#: side of a SHARP CEA pixel of 0.03 degree on a sphere of 696 Mm
PIXEL_MM = 0.364425
#: flux of one gauss in one CEA pixel, Mx (1.328054e15 cm^2 a pixel)
PIXEL_MX = 1.328054e15
#: one gauss over one square megametre, Mx
MX_PER_G_MM2 = 1e16
#: one heliographic degree, Mm
DEGREE_MM = PIXEL_MM / 0.03
#: synodic rotation of active latitudes (Howard 1990)
ROTATION_DEG_PER_DAY = 13.2


@dataclass(frozen=True)
class Rates:
    """Rates of the transport. Defaults are the Sun's, or were calibrated where the literature gives a range.

    Attributes
    ----------
    supergranule_mm, supergranule_life_h, supergranule_speed
        Spacing of supergranules (20 to 35 Mm: Hirzberger et al. 2008), lifetime (1 to 2 days: Rieutord & Rincon 2010)
        and outflow at its fastest, Mm/h (300 to 500 m/s, i.e. 1.1 to 1.8 Mm/h: Simon & Leighton 1964).
    mesogranule_mm, mesogranule_life_h, mesogranule_speed
        The same for cells of 3 to 10 Mm that live for hours (November et al. 1981; Rieutord & Rincon 2010).
    granular_diffusivity
        Random walk by granulation, Mm^2/h: 100 km^2/s is 0.36 Mm^2/h (Hagenaar et al. 1999: 70 to 250 km^2/s).
    supergranule_quench_gauss, mesogranule_quench_gauss
        Mean field at which the flow is halved: convection is suppressed in plage (Title et al. 1992).
    cancel_mm, cancel_per_h
        Opposite fluxes within this distance cancel at this rate (Livi et al. 1985; Martin et al. 1985).
    young_cancel, young_h
        Flux that emerged fewer hours ago cancels at this share of the rate, since its loops still rise.
    ephemeral_per_mm2_h, ephemeral_mx, ephemeral_scatter
        Emergence of ephemeral regions, bipoles whose polarities carry a log-normal flux (dex). With these numbers the
        network is renewed in about a day (Schrijver et al. 1997; Hagenaar 2001).
    inner_per_mm2_h, inner_mx
        The same within an active region, where small bipoles are stronger (Harvey 1993; Cheung et al. 2010).
    quiet_gauss
        Mean unsigned flux density of the mixed network when a simulation begins.
    migration_speed
        Speed at which newly emerged flux moves toward its polarity, Mm/h: 0.5 km/s is 1.8 Mm/h (Strous et al. 1996).
    moat_speed
        Outflow around spots, Mm/h, which reaches to twice the radius (Sheeley 1972; Brickhouse & Labonte 1988).
    plage_mm
        Size of the plage of a polarity of 1e21 Mx; it grows with the root of the flux, so that the mean field stays.
    element_scatter
        Fluxes of elements are log-normal with this scatter (natural logarithm): concentrations come in all sizes
        (Parnell et al. 2009).
    tube_mx, tube_scatter_mm
        When a field is drawn, each element stands for several tubes of at most this flux, scattered by so much.
    granules
        Spacing (Mm) of granules and small mesogranules, and how far they sweep flux into their lanes (0 to 1).
    concentration_gauss
        Field at which flux concentrations saturate at the resolution of HMI.
    """

    supergranule_mm: float = 29.0
    supergranule_life_h: float = 30.0
    supergranule_speed: float = 1.5
    mesogranule_mm: float = 5.0
    mesogranule_life_h: float = 4.0
    mesogranule_speed: float = 1.1
    granular_diffusivity: float = 0.35
    supergranule_quench_gauss: float = 170.0
    mesogranule_quench_gauss: float = 450.0
    cancel_mm: float = 1.7
    cancel_per_h: float = 1.2
    young_cancel: float = 0.13
    young_h: float = 14.0
    ephemeral_per_mm2_h: float = 5e-4
    ephemeral_mx: float = 9e17
    ephemeral_scatter: float = 0.4
    inner_per_mm2_h: float = 0.14e-4
    inner_mx: float = 3.5e18
    quiet_gauss: float = 4.0
    migration_speed: float = 1.8
    moat_speed: float = 1.6
    plage_mm: float = 3.5
    concentration_gauss: float = 1480.0
    element_scatter: float = 1.2
    tube_mx: float = 7e17
    tube_scatter_mm: float = 0.75
    granules: tuple[tuple[float, float], ...] = ((5.5, 0.42), (3.0, 0.58), (1.6, 0.68))


RATES = Rates()
