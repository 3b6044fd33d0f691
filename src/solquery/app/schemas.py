"""What the API takes, with units: with `answers` the source of its OpenAPI description."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, FiniteFloat, model_validator

__all__ = [
    "Between",
    "BlobIn",
    "EditIn",
    "EstimateIn",
    "Filters",
    "GenerateIn",
    "Lasso",
    "SearchIn",
    "SketchIn",
    "Strict",
]


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("text must be printable")
    return text


def _renamed(by: str) -> str:
    return "embedding" if by == "ssl" else by


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
        pattern=r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)?$",
        description="Latent vector: URL-safe base64, without padding, of little-endian float32 numbers; local noise "
        "after a dot where an inversion gave some (`solquery.encode_latent`); standard deviations of the prior.",
    ),
]
Values = Annotated[
    dict[Name, FiniteFloat],
    Field(max_length=32, description="Parameter to number, in the unit `/api/parameters` gives."),
]


class Strict(BaseModel):
    """What is asked: a field that is not known is refused."""

    model_config = ConfigDict(extra="forbid")


class Between(Strict):
    """Limits of a number, either of which may be left out."""

    low: FiniteFloat | None = None
    high: FiniteFloat | None = None

    @model_validator(mode="after")
    def _ordered(self) -> Between:
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError("low must not exceed high")
        return self


class Lasso(Strict):
    """A polygon in a scatter plot: of two parameters (`/api/cloud`), or of the encoder's space (`/api/space`)."""

    x: Name | None = Field(None, description="Parameter across; null, as `y`: the encoder's space.")
    y: Name | None = None
    points: list[Annotated[list[FiniteFloat], Field(min_length=2, max_length=2)]] = Field(min_length=3, max_length=200)
    log: list[bool] = Field([False, False], min_length=2, max_length=2, description="Whether x and y are logarithms.")

    @model_validator(mode="after")
    def _both(self) -> Lasso:
        if (self.x is None) != (self.y is None):
            raise ValueError("give both of x and y, or neither")
        return self


class Filters(Strict):
    """Which patches of the archive may be matches. What is unknown of a patch meets no limit on it."""

    source: Literal["any", "real", "simulated"] = Field("any", description="Observed, simulated, or both.")
    quantity: Literal["any", "radial", "line-of-sight"] = Field("any", description="Kind of field.")
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
    lasso: Lasso | None = Field(None, description="Only what lies in this part of a scatter plot.")


class EditIn(Strict):
    """Change one patch. With nothing set, the patch of `z` as it is."""

    z: Latent
    set: Values = Field(default_factory=dict)
    hold: Values = Field(default_factory=dict, description="Parameter to the value to keep.")
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
    k: int = Field(10, ge=1, le=100)
    group: Literal["region", "none"] = Field("region", description="One match per region, or every frame.")
    by: Annotated[Literal["embedding", "hybrid", "physics", "structure", "ssl"], AfterValidator(_renamed)] = Field(
        "embedding",
        description="By the embedding, by embedding and physical parameters together, by parameters alone, or by where "
        "which polarity lies, whatever the strength: for a line-of-sight query among radial fields. `ssl` is the "
        "former name of `embedding`.",
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


class BlobIn(Strict):
    """One polarity of a sketch."""

    sign: Literal["+", "-"]
    flux: FiniteFloat = Field(gt=0, description="Unsigned, in Mx.", examples=[1e22])
    size: FiniteFloat = Field(gt=0, description="Full width at half maximum of the field, in Mm.", examples=[25])
    x: FiniteFloat = Field(description="Of the centre, in Mm west of that of the view.", examples=[-30])
    y: FiniteFloat = Field(description="Of the centre, in Mm north of that of the view.", examples=[4])


class SketchIn(Strict):
    """Blobs of both signs, for which a region is to be drawn."""

    blobs: list[BlobIn] = Field(min_length=1, max_length=32)
    client: Client = None
