"""What the API gives, with units: with `schemas` the source of its OpenAPI description."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = [
    "AnswerOut",
    "CaveatOut",
    "CloudOut",
    "Difference",
    "ErrorsOut",
    "Estimate",
    "EstimateOut",
    "FieldOut",
    "GenerateOut",
    "HealthOut",
    "InversionOut",
    "InversionStateOut",
    "KnownOut",
    "LinkOut",
    "MapOut",
    "MatchOut",
    "ParametersOut",
    "PatchOut",
    "Problem",
    "Quantity",
    "ScaleOut",
    "SearchOut",
]


class Quantity(BaseModel):
    """A number with its unit; null where it is unknown."""

    value: float | None
    unit: str = Field(description="As astropy reads it; empty for a pure number.", examples=["Mx", "G pix", "deg"])


class Estimate(Quantity):
    """A number at native scale, estimated from the grid's; of a model that is not calibrated for it, the grid's."""

    low: float | None = Field(None, description="Two thirds of the patches lie between `low` and `high`.")
    high: float | None = None
    coverage: dict[str, float] | None = Field(
        None, description="Share of the patches of each source that were found in the band, by curves without them."
    )
    grid: Quantity | None = Field(None, description="The number on the grid, where it is another.")


class CaveatOut(BaseModel):
    """What limits the numbers and pictures of a patch."""

    name: Literal["limb", "offlimb", "missing", "cut", "view", "quality"]
    text: str


class Difference(Quantity):
    """Match minus query at the scale of the model; one sigma is half the central 68 % of generated patches."""

    sigmas: float | None
    logarithm: bool = Field(description="Whether the sigmas are those of the logarithm, as of fluxes.")
    within: bool | None = Field(
        description="Whether the match's value lies in the query's band, `low` to `high`; null where it has none."
    )


class FieldOut(BaseModel):
    """A field of float16 numbers; row 0 is the southernmost, column 0 the easternmost."""

    unit: Literal["G"] = "G"
    dtype: Literal["<f2"] = "<f2"
    shape: list[int] = Field(description="Rows and columns.")
    data: str = Field(description="base64 of the numbers, row by row.")


class Problem(BaseModel):
    """Why a request was not answered."""

    class Error(BaseModel):
        kind: str = Field(examples=["invalid", "out of reach", "not found", "busy"])
        message: str = Field(description="One line: what, where, what to do next.")
        nearest: dict[str, float] | None = Field(
            None, description="Out of reach: the nearest value the model makes, by parameter, in the unit of the grid."
        )

    error: Error


class EstimateOut(BaseModel):
    """Latents by id, each an estimate in one pass of the inference network; `/api/invert` comes closer."""

    estimates: dict[str, str]


class CountsOut(BaseModel):
    """How many patches of the archive lie in each bin, in the unit of the grid; those beyond are in the end bins."""

    edges: list[float]
    simulated: list[int]
    real: list[int]


class BandOut(BaseModel):
    """Where the band of an estimate comes from."""

    fitted_on: dict[str, Any] = Field(description="Patches and regions of each source; empty where not told.")
    coverage: dict[str, Any] = Field(description="Source to the share of its patches that lie in the band.")


class ParameterOut(BaseModel):
    """A parameter that can be asked for."""

    title: str
    symbol: str
    unit: str = Field(description="Of `reach`, `shown`, `median`, `spread`, and of `set` and `hold`.")
    native_unit: str = Field(description="At native scale: of filters and of `parameters` of a match.")
    native: bool = Field(description="Whether the model's numbers of it are at native scale; else they are the grid's.")
    band: BandOut | None = Field(description="What the band of its estimates was fitted on.")
    definition: str
    source: str = Field(description="Where the definition comes from.")
    reach: list[float] = Field(description="Least and greatest that the model makes.")
    shown: list[float] = Field(description="Ends of the histogram: what model and archive reach together.")
    bend: float | None = Field(
        description="Places on the slider go as log(1 + (value - shown[0]) / bend); null: evenly."
    )
    median: float
    spread: float = Field(
        description="Half of the 84th minus the 16th percentile of generated patches; a lock keeps a fifth of it."
    )
    binary: bool = Field(description="Takes the values -1 and 1 only.")
    accuracy: float = Field(description="Share of unseen patches that its direction puts on the right side.")
    chance: float = Field(description="The same by guessing.")
    generated: list[int] = Field(description="Generated patches in each bin of the histogram.")
    archive: CountsOut | None


class ParametersOut(BaseModel):
    parameters: dict[str, ParameterOut]


class AnswerOut(BaseModel):
    """A generated patch: simulated by a network, no observation."""

    z: str
    source: Literal["generated"] = "generated"
    requested: dict[str, Quantity]
    measured: dict[str, Estimate] = Field(description="What was measured on the patch is worth at native scale.")
    held: dict[str, Quantity]
    observed: dict[str, Estimate] | None = Field(
        default=None,
        description="With `origin`: the observation in the numbers of `measured`, estimated from the model's grid.",
    )
    native: dict[str, Estimate] = Field(description="Those of `measured` that have a band: its name of before.")
    python: str = Field(description="Lines of Python that make this patch again and measure it.")
    verdict: Literal["met", "nearest"]
    z_norm: float
    far: bool = Field(description="The latent is longer or shorter than any the generator was trained on.")
    field: FieldOut | None = None


class GenerateOut(BaseModel):
    answers: list[AnswerOut]
    seconds: float


class PatchOut(BaseModel):
    """A patch of the archive, or an upload."""

    model_config = ConfigDict(extra="allow")

    id: str
    region: str
    source: str
    parameters: dict[str, Quantity] = Field(description="At native scale.")
    grid: dict[str, Quantity] = Field(description="On the grid of the preset, as those of a generated patch.")
    scale_mm: list[float] | None = Field(description="Mm per pixel (y, x) of the field given; null: no scale.")
    caveats: list[CaveatOut] = Field(description="What limits its numbers and its picture; empty: nothing.")
    empty: bool = Field(False, description="No field to draw or to invert: every pixel is zero or missing.")
    doubt: str | None = Field(None, description="Why the instrument's QUALITY says not to trust it; null: it does not.")
    python: str = Field(description="Lines of Python that read this patch again and measure it.")
    field: FieldOut | None = None


class ErrorOut(Quantity):
    """Standard error, and what the noise adds on average."""

    bias: float | None


class SystematicOut(Quantity):
    """How much of a value the observation adds apart from noise."""

    error: float = Field(description="How uncertain that is; no part of the standard error of the noise.")
    basis: str = Field(description="What it was measured on.")


class ErrorsOut(BaseModel):
    """What noise and observation do to the parameters of an observation, at native scale."""

    errors: dict[str, ErrorOut] = Field(description="Empty where the noise is not known.")
    systematic: dict[str, SystematicOut] = Field(
        description="What the inversion of HMI adds to parameters of a radial field; empty where it is not known."
    )
    noise_gauss: float | None = Field(description="Median standard deviation of the noise; null: not known.")
    source: str = Field(description="Where the noise is known from, or why it is not.")


class ScaleOut(BaseModel):
    """How much of the power is explained when both fields are averaged over blocks."""

    pixels: int = Field(description="Side of a block.")
    mm: float | None = Field(description="The same in megametres; null: the grid has no scale.")
    share: float = Field(description="0 to 1.")


class _InvertedOut(BaseModel):
    z: str = Field(description="Latent vector, followed by the layer-wise latents where the generator has parts.")
    mse: float = Field(description="Mean squared error, in preset units squared (1 is 1000 G squared in `paper`).")
    explained: float = Field(
        description="Share of the power of the observed field that the reconstruction has, 0 to 1."
    )
    explained_by_scale: list[ScaleOut]
    z_norm: float
    far: bool
    observed: dict[str, Estimate] = Field(
        description="Of the observation as the model's grid shows it, so that it compares with `reconstructed`."
    )
    reconstructed: dict[str, Estimate] = Field(description="Of the reconstruction.")
    difference: dict[str, Quantity] = Field(description="Reconstructed less observed.")
    verdict: str = Field(description="`drawn`, or `cannot draw`: do not rely on the reconstruction. Empty on the way.")
    reason: str = Field(description="Why the model cannot draw the region.")
    field: FieldOut | None = Field(None, description="The reconstruction.")
    seconds: float


class InversionOut(_InvertedOut):
    """The generator's closest approximation to an observation, with its physical parameters."""

    patch: PatchOut


class InversionStateOut(_InvertedOut):
    """Where an inversion stands."""

    id: str
    stage: Literal["first guess", "picture", "physics", "done"]
    done: int = Field(description="Evaluations of the generator so far.")
    total: int = Field(description="The most that it will take.")
    running: bool
    cancelled: bool
    error: str | None = Field(description="Why it ended before it was done.")


class LinkOut(BaseModel):
    """A page elsewhere about an observation."""

    title: str
    url: str


class KnownOut(BaseModel):
    """A patch of the archive: who, when, where, and how it was measured."""

    id: str
    region: str
    source: Literal["real", "simulated"] = Field(description="Observed or simulated.")
    frames: int = Field(description="Patches of its region in the archive.")
    parameters: dict[str, Quantity] = Field(description="At native scale.")
    grid: dict[str, Quantity] = Field(description="On the grid of the preset, as those of the query.")
    t_utc: str | None = Field(description="When it was observed, UTC.")
    t_rec: str | None = Field(description="The same as the SHARP keyword has it, usually TAI.")
    harpnum: int | None
    noaa: list[int] | None
    latitude_deg: float | None = Field(description="Stonyhurst, of the centre, degrees north.")
    longitude_deg: float | None = Field(description="Stonyhurst, of the centre, degrees west.")
    mu: float | None = Field(description="Cosine of the heliocentric angle.")
    quantity: str | None = Field(description="Radial field or line of sight.")
    quality: int | None = Field(description="The instrument's QUALITY keyword.")
    credit: str | None
    file: str | None
    record_set: str | None = Field(description="JSOC record set of a SHARP frame.")
    fetch: str | None = Field(description="`solquery fetch` line that gets its region on its day.")
    caveats: list[CaveatOut] = Field(description="What limits its numbers, all but a cut region, which pixels tell.")
    links: list[LinkOut] = Field(description="Pages elsewhere about it; empty for a simulated one.")


class MatchOut(KnownOut):
    """A patch of the archive, and how far it lies from the query."""

    rank: int
    distance: float = Field(description="As `by` measures it; no unit.")
    nearer: float | None = Field(
        description="Share of pairs of patches of different regions of the archive that lie farther apart."
    )
    correlation: float | None = Field(
        description="With the query laid over it, where both were compared pixel by pixel, which may rank it first."
    )
    difference: dict[str, Difference]
    native_shape: list[int] = Field(description="Rows and columns as observed.")
    native_scale_mm: list[float] | None = Field(description="Mm per pixel (y, x) as observed.")


class SearchOut(BaseModel):
    query: dict[str, Any] = Field(
        description="What was searched with, its `parameters`, and those on the `grid`; of a line-of-sight query by "
        "`structure`, `as_radial`: whether radial patches were compared with an estimate of its radial field."
    )
    matches: list[MatchOut]
    candidates: int = Field(description="Patches that meet the filters.")
    close: bool | None = Field(
        description="Whether the nearest match is as near as 95 of 100 patches of the archive have another region."
    )
    where: str | None = Field(description="The filters as the SQL condition that `solquery.search` takes.")
    recipe: dict[str, str] = Field(description="Lines of Python and of the command line that do the same.")
    seconds: float


class MapOut(BaseModel):
    """The latent space in two dimensions in which a boundary is a line (Figure 4 of the paper)."""

    parameter: str
    points: list[list[float]]
    above: list[bool]
    slope: float
    offset: float
    axes: list[int]
    normal: list[float]
    intercept: float
    threshold: Quantity


class CloudOut(BaseModel):
    """Two parameters of the patches of the archive, at the scale of the model."""

    x: str
    y: str
    ids: list[str]
    source: list[str]
    values: list[list[float]]
    of: int = Field(description="Patches in the archive; a larger archive is thinned.")


class HealthOut(BaseModel):
    model_config = ConfigDict(extra="allow")

    status: Literal["ok"]
    version: str
    model: dict[str, Any]
    archive: dict[str, Any] | None
    no_search: str | None = Field(None, description="Why nothing can be searched; null where something can.")
