"""What the API takes and gives where observations are found by a line of text; see `schemas` and `answers`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from .answers import KnownOut
from .schemas import Filters, Strict

__all__ = ["FramesIn", "FramesOut", "PartOut", "SpaceOut", "UnderstandIn", "UnderstoodOut"]


class SpaceOut(BaseModel):
    """The encoder's space of the archive in two dimensions."""

    content: str = Field(description="Changes when the archive does: places are those of this content.")
    ids: list[str] | None = Field(description="Null where only the column was asked for, as the other places are.")
    regions: list[str] | None
    real: list[bool] | None = Field(description="Observed, or simulated.")
    points: list[list[float]] | None = Field(description="On the two principal axes of the embeddings.")
    values: list[float | None] = Field(description="Of `column`, to colour by; at the scale of the model.")
    column: str
    explained: float = Field(description="Share of the variance of the embeddings that the two axes have.")
    of: int = Field(description="Patches that can be found; of more than 50,000 every second, third, ... is given.")


class FramesIn(Strict):
    """Frames of the archive that meet filters."""

    filters: Filters = Field(default_factory=Filters)  # type: ignore[arg-type]
    limit: int = Field(200, ge=1, le=500, description="At most so many, evenly spread.")


class FramesOut(BaseModel):
    """Frames in the order of time."""

    frames: list[KnownOut]
    of: int = Field(description="How many meet the filters.")
    regions: int = Field(description="Of how many regions they are.")
    best: str | None = Field(description="Id of the one nearest to the disk centre.")
    where: str | None


class UnderstandIn(Strict):
    """A line of text that finds or makes."""

    text: Annotated[str, Field(max_length=400, examples=["NOAA 11158", "flux 3e22, 30 Mm, complex"])]


class PartOut(BaseModel):
    """A piece of the text, and what it was taken for."""

    text: str
    kind: Literal["region", "noaa", "time", "place", "source", "word", "number", "unknown"]
    meaning: str


class UnderstoodOut(BaseModel):
    """What a text asks for, in the terms of `/api/frames`, `/api/search` and `/api/generate`."""

    parts: list[PartOut]
    filters: Filters
    describe: str = Field(description="Words for `/api/generate`; empty where there are none.")
    set: dict[str, float] = Field(description="Numbers for `/api/generate`.")
