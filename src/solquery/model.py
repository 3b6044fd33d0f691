"""A trained model set on disk: generator, encoder and directions, with what is known about how they came to be."""

from __future__ import annotations

import builtins
import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterable
from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .aliases import Array, Document
from .config import EncoderConfig, GeneratorConfig, Preset, get_preset, validated
from .io import first_line
from .lazy import deferred
from .model_files import (
    FORMAT,
    MANIFEST,
    VERSION,
    ModelError,
    document_hash,
    fill,
    is_model,
    manifest_of,
    preset_record,
    read_files,
    read_manifest,
    recorded_preset,
    same_preset,
    state_hash,
    stored_state,
    write_folder,
)
from .model_parts import (
    NAME,
    built,
    encoder_record,
    find_model,
    in_use,
    load_directions,
    load_encoder,
    load_sampler,
    plugged,
    shipped_models,
    store_sampler,
)
from .physics import measure_on_grid

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from .steering.directions import Directions
    from .steering.native_scale import NativeScale
    from .steering.rejection import RejectionSampler
else:
    torch = deferred("torch")

__all__ = ["DEFAULT", "Model", "ModelError", "state_hash"]

#: the model that is used where none is named
DEFAULT = "physical"

_OWN_KEYS = (
    "format",
    "version",
    "name",
    "preset",
    "generator",
    "inference",
    "encoder",
    "directions",
    "sampler",
    "files",
    "hash",
)


class Model:
    """A trained model set.

    Attributes
    ----------
    name
        Short name, e.g. ``quick``.
    preset
        With the configurations that the two networks were built from.
    generator
        (N, D) latents to (N, 1, H, W) patches in preset units; in evaluation mode.
    encoder
        (N, 1, H, W) to (N, E) embeddings, in evaluation mode; None in a model that only generates.
    directions
        `solquery.steering.Directions`, or None before they are fitted. Of a calibrated model their values are at native
        scale.
    native_scale
        `solquery.steering.native_scale.NativeScale`: the calibration from the grid to native scale; None of a model
        that was not calibrated (``solquery model native``) or works on a grid without scale.
    inference
        Network with `guess`: (N, H, W) patches to (N, D) latents to start an inversion from; None where the generator
        was trained without one.
    sampler
        `solquery.steering.RejectionSampler`, which random draws go through; None: every draw of the prior is taken.
    metadata
        `provenance`, `metrics`, and whatever else was recorded; JSON.
    hash
        Of everything in the model; None until it is saved or loaded.
    """

    def __init__(
        self,
        name: str,
        preset: Preset | str,
        generator: nn.Module,
        encoder: nn.Module | None = None,
        directions: Directions | None = None,
        metadata: Document | None = None,
        inference: nn.Module | None = None,
    ) -> None:
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise ModelError(f"a model's name is made of letters, digits, '-', '_' and '.', got {name!r}")
        self.name = name
        self.preset = get_preset(preset)
        # this layout of the weights makes convolutions about three times as fast on a CPU
        self.generator = generator.eval().to(memory_format=torch.channels_last)
        self.encoder = None if encoder is None else in_use(encoder)
        self._directions = None if directions is None else directions.on_grid or directions
        self._scaled: tuple[Document | None, NativeScale | None, Directions | None] | None = None
        self.inference = inference.eval() if inference is not None else None
        self.sampler: RejectionSampler | None = None
        self.metadata = {"provenance": {}, "metrics": {}, **(metadata or {})}
        taken = sorted(set(self.metadata) & set(_OWN_KEYS))
        if taken:
            raise ModelError(f"metadata may not use the keys {', '.join(taken)}; model.json has its own")
        self.hash: str | None = None
        #: the hash, and of which state of the tensors
        self._encoder_hash: tuple[str, list[tuple[int, int]]] | None = None

    def __repr__(self) -> str:
        encoder = "no encoder" if self.encoder is None else f"encoder {self.encoder_hash[:8]}"
        steers = "no directions" if self._directions is None else f"{len(self._directions.names)} directions"
        return f"<Model {self.name!r}: preset {self.preset.name!r}, {encoder}, {steers}>"

    @property
    def directions(self) -> Directions | None:
        """At native scale, of a calibrated model; they can be set in either."""
        return self._at_scale()[1]

    @directions.setter
    def directions(self, fitted: Directions | None) -> None:
        self._directions = None if fitted is None else fitted.on_grid or fitted

    @property
    def native_scale(self) -> NativeScale | None:
        """The calibration from the grid to native scale, or None."""
        return self._at_scale()[0]

    def _at_scale(self) -> tuple[NativeScale | None, Directions | None]:
        """Calibration, and directions in it, made when they are first asked for."""
        from .steering.native_scale import NATIVE_KEY, NativeScale

        record = self.metadata.get(NATIVE_KEY) if self.preset.physical else None
        if not record:
            return None, self._directions
        made = self._scaled
        if made is None or made[0] is not record or (made[2] and made[2].on_grid) is not self._directions:
            scale = NativeScale(record)
            fitted = None if self._directions is None else self._directions.at_native_scale(scale)
            made = self._scaled = record, scale, fitted
        return made[1], made[2]

    def on_grid(self) -> Model:
        """The same model without its calibration: every number of it is one of the grid."""
        from .steering.native_scale import NATIVE_KEY

        other = copy(self)
        other.metadata = {key: value for key, value in self.metadata.items() if key != NATIVE_KEY}
        return other

    @property
    def encoder_hash(self) -> str:
        """Hash of the encoder's weights: embeddings made with equal ones can be compared."""
        if self.encoder is None:
            raise ModelError(f"model {self.name!r} has no encoder; choose one that has, or train one")
        if plugged(self.encoder):
            return str(self.encoder.identity())
        writes = _writes(self.encoder)
        if self._encoder_hash is None or self._encoder_hash[1] != writes:  # weights may be changed in place
            self._encoder_hash = state_hash(self.encoder), writes
        return self._encoder_hash[0]

    def with_encoder(self, encoder: str | Callable[[Tensor], Tensor]) -> Model:
        """The same model with another encoder, which embeds archives and queries from then on.

        Parameters
        ----------
        encoder
            A name known to `register_encoder`, the path of a file that ends in ``.onnx``, a module, or another callable
            (N, 1, H, W) in units of this model's preset to (N, D).

        Returns
        -------
        A model that shares everything else with this one. It can be saved when its encoder is one of the package, or
        registered: the name is stored then, and a plug-in must register it again before the model is loaded.

        Raises
        ------
        SolqueryError
            When there is no such encoder, or it cannot be built.

        Examples
        --------
        >>> model = Model.load("paper").with_encoder(lambda x: x[:, 0, ::16, ::16].flatten(1))
        >>> model.encoder(torch.zeros(2, 1, *model.preset.shape)).shape
        torch.Size([2, 64])
        """
        from .encoder.registry import as_encoder

        other = copy(self)
        other.metadata = {**self.metadata, "provenance": dict(self.metadata["provenance"])}
        other.metadata["provenance"].pop("encoder", None)
        other.encoder, other.hash, other._encoder_hash = in_use(as_encoder(encoder, self.preset)), None, None
        return other

    def measure(self, x: Array, names: Iterable[str] | str | None = None) -> dict[str, np.ndarray]:
        """Physical parameters of patches on this model's grid; `native` gives them at native scale.

        Parameters
        ----------
        x
            (H, W) or (N, H, W) in preset units, of a `Traversal` or from `prepare`; or what `search` takes: an
            `Answer`, an `Inversion`, a latent vector (D,), a `Patch`, a sunpy Map, the path of a FITS file.
        names
            Which parameters; None for all but those that are measured on demand only.

        Returns
        -------
        Name to (N,) float64, in the units of the grid (`Directions.unit`). NaN: unknown for this patch.

        Raises
        ------
        UnknownParameter
            Listing the parameters that exist.

        Examples
        --------
        >>> model = Model.load("paper")
        >>> x = np.zeros(model.preset.shape, np.float32)
        >>> {name: float(value[0]) for name, value in model.measure(x, "tuf").items()}
        {'tuf': 0.0}
        """
        x = self._images(x)
        return {name: values.numpy() for name, values in measure_on_grid(x, self.preset, names).items()}

    def native(self, x: Array, names: Iterable[str] | str | None = None) -> dict[str, np.ndarray]:
        """Physical parameters of patches at native scale, as estimated from this model's grid.

        Parameters, returned values and errors as of `measure`. A parameter that the model was not calibrated for is
        that of the grid.
        """
        from .steering.native_scale import measure_native

        return measure_native(self, self._images(x), names)

    def _images(self, x: Array) -> Array:
        """(H, W) or (N, H, W) in preset units, of what `measure` takes."""
        if isinstance(x, np.ndarray | torch.Tensor) and x.ndim > 1:
            return x
        from .steering.inputs import grid_input

        return grid_input(x, self).x

    @staticmethod
    def list() -> builtins.list[str]:
        """Names of the models that ship with the package."""
        return shipped_models()

    def save(self, folder: str | Path, *, encoder_from: str | None = None) -> Path:
        """Write the model to `folder`, which appears, or is replaced, all at once.

        Parameters
        ----------
        folder
            Must be new, empty, or hold a model.
        encoder_from
            Name of a model beside this one, or a shipped one, whose encoder is the same: it is then not written again.

        Returns
        -------
        The folder.

        Raises
        ------
        ModelError
            When the folder holds something else, or the other model another encoder.
        """
        from safetensors.numpy import save as pack_arrays
        from safetensors.torch import save as pack

        from .eight_bits import packed

        folder = Path(folder).absolute()
        if folder.exists() and not (folder.is_dir() and (is_model(folder) or not any(folder.iterdir()))):
            raise ModelError(f"{folder} is no model and not empty; nothing was written, choose another folder")
        contents = {"generator.safetensors": pack(packed(stored_state(self.generator)))}
        encoder = encoder_record(self, folder, encoder_from)
        if encoder is not None and not {"from", "registered"} & set(encoder):
            contents["encoder.safetensors"] = pack(packed(stored_state(self.encoder)))
        if self.inference is not None:
            contents["inference.safetensors"] = pack(packed(stored_state(self.inference)))
        directions = None
        if self._directions is not None:
            contents["directions.safetensors"] = pack_arrays(self._directions.tensors())
            directions = {"names": [*self._directions.names], "table_rows": len(self._directions.table)}
        document: Document = {
            "format": FORMAT,
            "version": VERSION,
            "name": self.name,
            "preset": preset_record(self.preset),
            "generator": {"config": dataclasses.asdict(self.preset.generator), "weights": state_hash(self.generator)},
            "inference": None if self.inference is None else {"weights": state_hash(self.inference)},
            "encoder": encoder,
            "directions": directions,
            **store_sampler(self, self.sampler, contents),
            **self.metadata,
            "files": {
                name: {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
                for name, data in contents.items()
            },
        }
        try:
            document = json.loads(json.dumps(document, allow_nan=False))
        except (TypeError, ValueError) as error:
            raise ModelError(f"the metadata of model {self.name!r} is not plain JSON: {error}") from None
        document["hash"] = document_hash(document)

        write_folder(folder, {**contents, MANIFEST: (json.dumps(document, indent=1) + "\n").encode()})
        self.hash = document["hash"]
        return folder

    @classmethod
    def load(cls, where: str | Path | None = None, *, preset: str | Preset | None = None) -> Model:
        """Read and check a model.

        Parameters
        ----------
        where
            A folder, or the name of a shipped model; None for the default one.
        preset
            If given, the model must be of this preset.

        Raises
        ------
        ModelError
            When it is not there, damaged, foreign, or of another preset; one line says which.
        """
        folder = find_model(where, DEFAULT)
        document = read_manifest(folder)
        files = read_files(folder, document)
        try:
            name, stored = document["name"], document["preset"]
            generator_config = validated(GeneratorConfig, document["generator"]["config"])
            encoder_record, directions_record = document["encoder"], document["directions"]
            encoder_config = validated(EncoderConfig, encoder_record["config"]) if encoder_record else EncoderConfig()
            base = recorded_preset(stored)
            encoder_weights = encoder_record["weights"] if encoder_record else None
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(f"{manifest_of(folder)} does not describe a model: {first_line(error)}") from None
        if preset is not None and get_preset(preset).name != base.name:
            raise ModelError(
                f"{folder} is of preset {base.name!r}, not {get_preset(preset).name!r}; choose another model"
            )
        if not same_preset({**stored, "name": base.name}, base):
            raise ModelError(f"{folder} was made with another definition of preset {base.name!r}; train it again")
        full = dataclasses.replace(base, generator=generator_config, encoder=encoder_config)

        from .generator.inference import build_inference
        from .generator.registry import build_generator

        generator = built(build_generator, generator_config, full.shape, where=folder)
        fill(generator, files.get("generator.safetensors"), folder / "generator.safetensors")
        encoder = load_encoder(folder, encoder_record, full, files)
        inference = None
        if document.get("inference"):
            inference = built(build_inference, generator_config, full.shape, where=folder)
            fill(inference, files.get("inference.safetensors"), folder / "inference.safetensors")
        directions = load_directions(folder, directions_record, files, int(generator.latent_dim), full.physical)
        metadata = {key: value for key, value in document.items() if key not in _OWN_KEYS}
        try:
            model = cls(name, full, generator, encoder, directions, metadata, inference)
        except ModelError as error:
            raise ModelError(f"{manifest_of(folder)}: {error}") from None
        model.hash, model.sampler = document["hash"], load_sampler(folder, document.get("sampler"), files, encoder)
        if encoder_weights is not None and model.encoder is not None and not plugged(model.encoder):
            model._encoder_hash = encoder_weights, _writes(model.encoder)
        return model


def _writes(network: nn.Module) -> builtins.list[tuple[int, int]]:
    """Where each tensor lies and how often it has been written to."""
    return [(tensor.data_ptr(), tensor._version) for tensor in network.state_dict().values()]
