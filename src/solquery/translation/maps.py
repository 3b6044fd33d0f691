"""A fitted map: what it reads, its weights, and the error that it was measured to have; on disk as one file."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..aliases import Document
from ..io import first_line, write_atomically
from .filters import features, interpolated
from .grid import Seen
from .kinds import KINDS, Kind, TranslationError
from .simple import simple_features

if TYPE_CHECKING:
    from ..protocols import Model

__all__ = ["METHODS", "WITHOUT_MODEL", "Translation"]

#: how a map is made: a factor, with the angle or interpolation; linear in neighbourhoods; the same and what the
#: generator draws; edits of the generator's latent
METHODS = ("simple", "filters", "filters+generator", "direction", "latent-map")
#: those that need no generator
WITHOUT_MODEL = METHODS[:2]
_KEY, _VERSION = "solquery_translation", 1


@dataclass(frozen=True, repr=False)
class Translation:
    """A map from one kind of magnetogram to another.

    Attributes
    ----------
    name
        What it is called in the patches that it makes.
    kind
        What it reads and makes.
    method
        Of `METHODS`.
    scale_mm
        (y, x) Mm per pixel of its grid.
    names, weights
        Features (`solquery.translation.filters`) and their weights (K,), of methods with filters; the simple field
        (`solquery.translation.simple`) and its factor.
    latent
        Arrays of the methods in latent space: ``direction`` (D,), ``matrix`` (F, D), ``strength`` (1,).
    error
        Method to ``rms_gauss``, ``rms_strong_gauss`` (wanted field over 200 G) and ``unexplained`` (share of the power
        of the wanted field), in each case on regions that were not fitted on, among them ``nothing``: the patch left
        as it is, and ``simple``: what people do without a map.
    provenance
        Numbers of pairs and regions, and where they came from.
    model
        Name and hash of the model that it needs; None where it needs none.
    """

    name: str
    kind: Kind
    method: str
    scale_mm: tuple[float, float]
    names: tuple[str, ...] = ()
    weights: np.ndarray = field(default_factory=lambda: np.zeros(0))
    latent: dict[str, np.ndarray] = field(default_factory=dict)
    error: dict[str, dict[str, float]] = field(default_factory=dict)
    provenance: Document = field(default_factory=dict)
    model: Document | None = None

    def __repr__(self) -> str:
        told = f"{self.kind.given} to {self.kind.wanted}, {self.method}, {self.scale_mm[1]:.3g} Mm per pixel"
        error = self.error.get(self.method)
        ending = f", error {error['rms_gauss']:.0f} G" if error else ""
        return f"<Translation {self.name!r}: {told}{ending}>"

    def fields(self, some: list[Seen], model: Model | None = None) -> np.ndarray:
        """(N, H, W) G that the map makes of patches on its grid, all pixels.

        Raises
        ------
        TranslationError
            When it needs a model, and none or another one is given.
        """
        drawn, z = None, np.zeros((0, 0))
        if self.model is not None:
            self._check(model)
            from .latent import drawn_for

            assert model is not None
            z, drawn = drawn_for(model, some)
        if self.method == "simple" or self.method.startswith("filters"):
            made = [self._filtered(one, None if drawn is None else drawn[k]) for k, one in enumerate(some)]
        else:
            from .latent import render_gauss

            assert model is not None and drawn is not None
            edited = render_gauss(model, self.edited(z, np.array([mean_angle(one) for one in some])))
            made = [moved(self.kind, one, drawn[k], edited[k], self._strength()) for k, one in enumerate(some)]
        return np.stack([merged(self.kind, one, values) for one, values in zip(some, made, strict=True)])

    def shortfall(self) -> str:
        """In what the map is worse than what people do without one, in one line; empty where it is not, or not known.

        As measured on regions that it was not fitted on, in all pixels that it changes and in strong ones.
        """
        own, simple = self.error.get(self.method), self.error.get("simple")
        if self.method == "simple" or not own or not simple:
            return ""
        told = {"rms_gauss": "in all pixels", "rms_strong_gauss": "over 200 G"}
        worse = [f"{own[k]:.0f} G against {simple[k]:.0f} G {text}" for k, text in told.items() if own[k] > simple[k]]
        way = self.provenance.get("simple", "a factor")
        return f"map {self.name!r} is worse than {way!r} alone: {' and '.join(worse)}" if worse else ""

    def _strength(self) -> float:
        return float(self.latent["strength"][0]) if "strength" in self.latent else 1.0

    def edited(self, z: np.ndarray, angle: np.ndarray) -> np.ndarray:
        """(N, D) latents of the wanted patches, for those of the given ones and their mean 1 / mu - 1 (N,)."""
        if self.method == "direction":
            return z + self.latent["direction"]
        return z + latent_features(z, angle) @ self.latent["matrix"]

    def _filtered(self, one: Seen, drawn: np.ndarray | None) -> np.ndarray:
        found = dict(features(self.kind, one, drawn))
        if self.method == "simple":
            found = {name: field for name, field in simple_features(self.kind, one).items() if name in self.names}
        if tuple(found) != self.names:
            raise TranslationError(f"map {self.name!r} was fitted with other features than this version has; fit again")
        return 1000.0 * np.einsum("k,kyx->yx", self.weights, np.stack(list(found.values())))

    def _check(self, model: Model | None) -> None:
        assert self.model is not None
        if model is None:
            raise TranslationError(f"map {self.name!r} needs model {self.model['name']!r}; give it")
        if model.hash != self.model["hash"]:
            raise TranslationError(
                f"map {self.name!r} was fitted with another model than {model.name!r} as it is now; fit it again "
                "(solquery train translation)"
            )

    def save(self, path: str | Path) -> Path:
        """Write the map as one safetensors file, which appears when it is complete."""
        from safetensors.numpy import save

        about = {
            "version": _VERSION, "name": self.name, "kind": asdict(self.kind), "method": self.method,
            "scale_mm": self.scale_mm, "names": self.names, "error": self.error, "provenance": self.provenance,
            "model": self.model,
        }  # fmt: skip
        tensors = {"weights": np.ascontiguousarray(self.weights), **self.latent}
        return write_atomically(Path(path), save(tensors, {_KEY: json.dumps(about)}))

    @classmethod
    def load(cls, path: str | Path) -> Translation:
        """Read a map.

        Raises
        ------
        TranslationError
            When the file is not there, or holds no map.
        """
        from safetensors import SafetensorError, safe_open

        path = Path(path)
        if not path.is_file():
            raise TranslationError(f"no map at {path}; name one that ships ({', '.join(KINDS)}) or a file")
        try:
            with safe_open(path, "numpy") as file:
                about = json.loads((file.metadata() or {})[_KEY])
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            if about.pop("version") != _VERSION:
                raise TranslationError(f"{path} was written by another version of solquery; fit the map again")
            weights = tensors.pop("weights")
            made = cls(
                **{**about, "kind": Kind(**about["kind"]), "names": tuple(about["names"])},
                weights=weights, latent=tensors,
            )  # fmt: skip
        except TranslationError:
            raise
        except (SafetensorError, KeyError, TypeError, ValueError, OSError) as error:
            raise TranslationError(f"{path} is no map of solquery: {first_line(error)}") from None
        whole = len(made.weights) == len(made.names) and np.isfinite(made.weights).all()
        if made.method not in METHODS or not whole:
            raise TranslationError(f"{path} is damaged: its weights do not fit its features; fit the map again")
        return cls(**{**vars(made), "scale_mm": (float(made.scale_mm[0]), float(made.scale_mm[1]))})


def changed(kind: Kind, one: Seen) -> np.ndarray:
    """(H, W) bool: the pixels that a map of this kind changes."""
    if kind.where == "missing":
        return one.valid & (one.missing > 0.5)
    if kind.where == "saturated":
        return one.valid & (one.saturated > 0)
    return one.valid


def merged(kind: Kind, one: Seen, values: np.ndarray) -> np.ndarray:
    """(H, W): the values where the map changes something, else the patch as it is."""
    return values if kind.where == "all" else np.where(changed(kind, one), values, one.field)


def moved(kind: Kind, one: Seen, drawn: np.ndarray, edited: np.ndarray, strength: float) -> np.ndarray:
    """(H, W) G: the patch with the change that an edit makes to what is drawn; what is missing is as drawn."""
    if kind.where == "missing":
        return np.where(changed(kind, one), edited, one.field)
    return one.field + strength * (edited - drawn)


def mean_angle(one: Seen) -> float:
    """Mean of 1 / mu - 1 over a patch."""
    return float((1.0 / one.mu - 1.0).mean())


def latent_features(z: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """(N, D + 2): latents, angle, one."""
    return np.concatenate([z, angle[:, None], np.ones((len(z), 1))], 1)


def left_as_is(kind: Kind, one: Seen) -> np.ndarray:
    """(H, W) G: what one has without a map. Missing pixels are zero, as `solquery.prepare` has them."""
    return np.where(one.missing > 0.5, 0.0, one.field) if kind.where == "missing" else one.field


def smoothly_filled(one: Seen) -> np.ndarray:
    """(H, W) G: missing pixels interpolated from what is around them."""
    return interpolated(one)
