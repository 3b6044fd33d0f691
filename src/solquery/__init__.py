"""Ask an archive of solar active regions by describing one: generate it, steer it, find the real ones that match.

Names are loaded when they are first used: `import solquery` itself needs the standard library alone.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .numba_cache import ensure_cache

if TYPE_CHECKING:
    from .archive.prepare import prepare, prepare_many, resize
    from .archive.samples import sample_patches
    from .archive.split import split
    from .archive.store import Archive, ArchiveError
    from .config import AugmentConfig, EncoderConfig, GeneratorConfig, Preset, get_preset
    from .encoder.embedding import embed, embed_archive
    from .encoder.registry import register_encoder
    from .encoder.training import load_encoder, train_encoder
    from .errors import SolqueryError
    from .extension import extend_directions
    from .generator.registry import register_generator
    from .generator.training import TrainingError, load_run, train_generator
    from .measuring import measure, qtable, quantities, uncertainty
    from .model import Model, ModelError
    from .model_build import build_model
    from .model_files import ModelWarning
    from .patch import Patch
    from .physics.registry import Parameter, UnknownParameter, get_parameter, parameter, parameters, unit_of
    from .plugins import PluginError, load_plugin
    from .search.baselines import search_parameters
    from .search.index import Match, SearchError
    from .search.matches import Matches
    from .search.session import SearchSession
    from .search.verbs import search, search_hybrid
    from .sharp.as_patch import as_patch
    from .sharp.fits import UnreadableFits, read_sharp
    from .sharp.fits_writing import write_fits
    from .simulator import simulate, simulate_region
    from .steering.direct import steer
    from .steering.directions import Directions, fit_directions
    from .steering.drawing import draw_patches
    from .steering.editing import Traversal, latent_traversal, shift
    from .steering.entanglement import EntanglementTable, entanglement_table
    from .steering.exact_traversal import exact_traversal
    from .steering.inversion import Inversion, invert
    from .steering.latent_text import decode_latent, encode_latent
    from .steering.latents import LatentTable, SteeringError, SteeringWarning, render, sample_latents
    from .steering.targeting import Answer, OutOfReach, generate
    from .steering.vocabulary import Target, parse_description, vocabulary
    from .study.demo import run_demo

__version__: str

ensure_cache()

__all__ = [
    "Answer",
    "Archive",
    "ArchiveError",
    "AugmentConfig",
    "Directions",
    "EncoderConfig",
    "EntanglementTable",
    "GeneratorConfig",
    "Inversion",
    "LatentTable",
    "Match",
    "Matches",
    "Model",
    "ModelError",
    "ModelWarning",
    "OutOfReach",
    "Parameter",
    "Patch",
    "PluginError",
    "Preset",
    "SearchError",
    "SearchSession",
    "SolqueryError",
    "SteeringError",
    "SteeringWarning",
    "Target",
    "TrainingError",
    "Traversal",
    "UnknownParameter",
    "UnreadableFits",
    "as_patch",
    "build_model",
    "decode_latent",
    "draw_patches",
    "embed",
    "embed_archive",
    "encode_latent",
    "entanglement_table",
    "exact_traversal",
    "extend_directions",
    "fit_directions",
    "generate",
    "get_parameter",
    "get_preset",
    "invert",
    "latent_traversal",
    "load_encoder",
    "load_plugin",
    "load_run",
    "measure",
    "parameter",
    "parameters",
    "parse_description",
    "prepare",
    "prepare_many",
    "qtable",
    "quantities",
    "read_sharp",
    "register_encoder",
    "register_generator",
    "render",
    "resize",
    "run_demo",
    "sample_latents",
    "sample_patches",
    "search",
    "search_hybrid",
    "search_parameters",
    "shift",
    "simulate",
    "simulate_region",
    "split",
    "steer",
    "train_encoder",
    "train_generator",
    "uncertainty",
    "unit_of",
    "vocabulary",
    "write_fits",
]

#: where each public name is defined
_HOME = {
    "sharp.as_patch": "as_patch",
    "sharp.fits": "UnreadableFits read_sharp",
    "sharp.fits_writing": "write_fits",
    "archive.prepare": "prepare prepare_many resize",
    "archive.samples": "sample_patches",
    "archive.split": "split",
    "simulator": "simulate simulate_region",
    "archive.store": "Archive ArchiveError",
    "measuring": "measure qtable quantities uncertainty",
    "model": "Model ModelError",
    "model_files": "ModelWarning",
    "model_build": "build_model",
    "config": "AugmentConfig EncoderConfig GeneratorConfig Preset get_preset",
    "errors": "SolqueryError",
    "extension": "extend_directions",
    "generator.registry": "register_generator",
    "generator.training": "TrainingError load_run train_generator",
    "patch": "Patch",
    "physics": "Parameter UnknownParameter get_parameter parameter parameters unit_of",
    "plugins": "PluginError load_plugin",
    "search.baselines": "search_parameters",
    "encoder.embedding": "embed embed_archive",
    "encoder.registry": "register_encoder",
    "search.index": "Match SearchError",
    "search.matches": "Matches",
    "search.session": "SearchSession",
    "search.verbs": "search search_hybrid",
    "encoder.training": "load_encoder train_encoder",
    "steering.direct": "steer",
    "steering.directions": "Directions fit_directions",
    "steering.drawing": "draw_patches",
    "steering.editing": "Traversal shift latent_traversal",
    "steering.exact_traversal": "exact_traversal",
    "steering.inversion": "Inversion invert",
    "steering.latent_text": "decode_latent encode_latent",
    "steering.latents": "LatentTable SteeringError SteeringWarning render sample_latents",
    "steering.entanglement": "EntanglementTable entanglement_table",
    "steering.targeting": "Answer OutOfReach generate",
    "steering.vocabulary": "Target parse_description vocabulary",
    "study.demo": "run_demo",
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import PackageNotFoundError, version

        try:
            value: Any = version("solquery")
        except PackageNotFoundError:  # run from a source tree that was never installed
            value = "0+unknown"
    elif name in _MODULE_OF:
        value = getattr(import_module(f".{_MODULE_OF[name]}", __name__), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})
