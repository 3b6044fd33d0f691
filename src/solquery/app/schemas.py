"""What the API takes and gives, with units: the source of its OpenAPI description."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, FiniteFloat, model_validator

__all__ = [
    "AnswerOut",
    "Band",
    "CloudOut",
    "EditIn",
    "EstimateIn",
    "EstimateOut",
    "FieldOut",
    "Filters",
    "GenerateIn",
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
    "SearchIn",
    "SearchOut",
    "Strict",
]


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("text must be printable")
    return text


Name = Annotated[str, Field(max_length=64, examples=["tuf"]), AfterValidator(_printable)]
Identifier = Annotated[str, Field(min_length=1, max_length=300), AfterValidator(_printable)]
Client = Annotated[
    str | None,
    Field(max_length=64, description="Who asks; of several requests in the queue the newest of a client is answered."),
]
Latent = Annotated[
    str,
    Field(
        min_length=4,
        max_length=16_384,
        pattern=r"^[A-Za-z0-9_-]+$",
        description="Latent vector: URL-safe base64, without padding, of little-endian float32 numbers "
        "(`solquery.encode_latent`); standard deviations of the prior.",
    ),
]
Values = Annotated[
    dict[Name, FiniteFloat],
    Field(max_length=32, description="Parameter to number, in the unit `/api/parameters` gives (of the grid)."),
]


class Strict(BaseModel):
    """What is asked: a field that is not known is refused."""

    model_config = ConfigDict(extra="forbid")


class Quantity(BaseModel):
    """A number with its unit; null where it is unknown."""

    value: float | None
    unit: str = Field(description="As astropy reads it; empty for a pure number.", examples=["Mx", "G pix", "deg"])


class Band(Quantity):
    """What a number of the grid is worth at native scale; two thirds of the archive's patches lie between."""

    low: float | None
    high: float | None


class Difference(Quantity):
    """Match minus query, both on the grid; in sigmas too: half the central 68 % of generated patches is one."""

    sigmas: float | None
    logarithm: bool = Field(description="Whether the sigmas are those of the logarithm, as of fluxes.")


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


class Between(Strict):
    """Limits of a number, either of which may be left out."""

    low: FiniteFloat | None = None
    high: FiniteFloat | None = None

    @model_validator(mode="after")
    def _ordered(self) -> Between:
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError("low must not exceed high")
        return self


class Filters(Strict):
    """Which patches of the archive may be matches. What is unknown of a patch meets no limit on it."""

    source: Literal["any", "real", "simulated"] = Field("any", description="Observed, simulated, or both.")
    since: date | None = Field(None, description="First day, UTC.")
    until: date | None = Field(None, description="Last day, UTC.")
    latitude_deg: Between | None = Field(None, description="Stonyhurst latitude of the centre.", title="deg")
    longitude_deg: Between | None = Field(None, description="Stonyhurst longitude of the centre.", title="deg")
    mu_min: Annotated[float, Field(ge=0, le=1)] | None = Field(None, description="Least cosine of heliocentric angle.")
    parameters: dict[Name, Between] = Field(
        default_factory=dict, max_length=32, description="Limits at native scale, in the native unit (Mx, Mm, ...)."
    )
    grid: dict[Name, Between] = Field(
        default_factory=dict, max_length=32, description="Limits on the grid of the preset, in the unit of the grid."
    )
    region: Identifier | None = Field(None, description="Frames of this region only.")
    noaa: Annotated[int, Field(ge=1, lt=10**6)] | None = Field(None, description="Only with this NOAA number.")


class EditIn(Strict):
    """Change one patch. With nothing set, the patch of `z` as it is."""

    z: Latent
    set: Values = Field(default_factory=dict)
    hold: Values = Field(default_factory=dict, description="Parameter to the value to keep, on the grid.")
    exact: bool = Field(True, description="False: a direct step in milliseconds; true: solved for.")
    origin: Identifier | None = Field(
        None,
        description="Id of the observation that `z` was found for: what is neither set nor held of TUF, PSEP, AREA, R, "
        "tilt and polarity is held at what is measured on it.",
    )
    client: Client = None


class GenerateIn(Strict):
    """Make patches: of a description, of numbers, of both, or (with neither) drawn from the prior."""

    describe: str | None = Field(None, max_length=400, examples=["strong, widely separated bipole"])
    set: Values = Field(default_factory=dict)
    nearest: bool = Field(False, description="Of a number out of reach take the nearest value instead of an error.")
    n: int = Field(1, ge=1, le=8, description="How many different ones.")
    seed: int = Field(0, ge=0, lt=2**32)
    client: Client = None


class SearchIn(Strict):
    """Search with exactly one of: a latent vector, the id of a patch in the archive, the id of an upload."""

    z: Latent | None = None
    patch: Identifier | None = None
    upload: Identifier | None = None
    k: int = Field(12, ge=1, le=100)
    group: Literal["region", "none"] = Field("region", description="One match per region, or every frame.")
    by: Literal["ssl", "hybrid", "physics"] = Field(
        "ssl", description="By the embedding, by its look and physical parameters together, or by parameters alone."
    )
    more: list[Identifier] = Field(
        default_factory=list, max_length=20, description="Patches of the archive that matches should be like, too."
    )
    less: list[Identifier] = Field(
        default_factory=list, max_length=20, description="Patches of the archive that matches should not be like."
    )
    exclude_own: bool = Field(False, description="Leave out the region of the query.")
    filters: Filters = Field(default_factory=Filters)  # type: ignore[arg-type]
    client: Client = None

    @model_validator(mode="after")
    def _one(self) -> SearchIn:
        if sum(part is not None for part in (self.z, self.patch, self.upload)) != 1:
            raise ValueError("give exactly one of z, patch and upload")
        return self


class EstimateIn(Strict):
    """Patches of the archive, or uploads, whose place in the latent space is asked for."""

    ids: list[Identifier] = Field(min_length=1, max_length=100)
    client: Client = None


class EstimateOut(BaseModel):
    """Latents by id, each an estimate in one pass of the inference network; `/api/invert` comes closer."""

    estimates: dict[str, str]


class CountsOut(BaseModel):
    """How many patches of the archive lie in each bin, in the unit of the grid; those beyond are in the end bins."""

    edges: list[float]
    simulated: list[int]
    real: list[int]


class ParameterOut(BaseModel):
    """A parameter that can be asked for."""

    title: str
    symbol: str
    unit: str = Field(description="On the grid: of `reach`, `shown`, `median`, `spread`, and of `set` and `hold`.")
    native_unit: str = Field(description="At native scale: of filters and of `parameters` of a match.")
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
    measured: dict[str, Quantity] = Field(description="Measured on the patch, on the grid.")
    held: dict[str, Quantity]
    native: dict[str, Band] = Field(
        description="What `got` is worth at the scale of the observations; empty where the model cannot tell."
    )
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
    empty: bool = Field(False, description="No field to draw or to invert: every pixel is zero or missing.")
    doubt: str | None = Field(None, description="Why the instrument's QUALITY says not to trust it; null: it does not.")
    python: str = Field(description="Lines of Python that read this patch again and measure it.")
    field: FieldOut | None = None


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
    observed: dict[str, Quantity] = Field(description="Measured on the observation, on the grid.")
    reconstructed: dict[str, Quantity] = Field(description="Measured on the reconstruction, on the grid.")
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
    links: list[LinkOut] = Field(description="Pages elsewhere about it; empty for a simulated one.")


class MatchOut(KnownOut):
    """A patch of the archive, and how far it lies from the query."""

    rank: int
    distance: float = Field(description="As `by` measures it; no unit.")
    nearer: float | None = Field(
        description="Share of pairs of patches of different regions of the archive that lie farther apart."
    )
    difference: dict[str, Difference]
    native_shape: list[int] = Field(description="Rows and columns as observed.")
    native_scale_mm: list[float] | None = Field(description="Mm per pixel (y, x) as observed.")


class SearchOut(BaseModel):
    query: dict[str, Any] = Field(description="What was searched with, and its `parameters` on the grid.")
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
    """Two grid parameters of the patches of the archive."""

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
