"""Steering: which way in latent space a physical parameter changes, and how to use it.

Look-up table of latents, directions from linear support vector machines, conditional directions, traversals,
patches with given properties, and the latent vector of a given patch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy import lazily

if TYPE_CHECKING:
    from .carried import with_layerwise
    from .conditional import NothingLeft, conditional_normal, orthogonal_complement
    from .direct import HOLD_SLACK, steer
    from .directions import Directions, NoDirection, fit_directions
    from .drawing import draw_patches
    from .editing import Traversal, latent_traversal, shift
    from .entanglement import EntanglementTable, entanglement_table, local_changes
    from .exact_traversal import exact_traversal, exact_traversals
    from .inversion import Inversion, invert
    from .inverted_edits import edit_inversion, observed_holds
    from .latent_text import decode_latent, encode_latent, open_latent
    from .latents import (
        LatentTable,
        SteeringError,
        SteeringWarning,
        measure_latents,
        prior_norm_range,
        render,
        sample_latents,
    )
    from .layerwise import refine_layerwise
    from .projection import Projection, best_axes, project
    from .reconstruction import Reconstruction, first_guess, reconstruct, reconstruct_in_steps
    from .regression import Regression, compare_with_svm, fit_regression
    from .rejection import RejectionSampler, sampler_for
    from .sketch import Blob, invert_sketch, invert_sketch_in_steps, read_sketch, sketch_patch
    from .targeting import Answer, OutOfReach, generate, reach
    from .vocabulary import Target, UnknownWord, parse_description, vocabulary

__all__ = [
    "HOLD_SLACK", "Answer", "Blob", "Directions", "EntanglementTable", "Inversion", "LatentTable", "NoDirection",
    "NothingLeft", "OutOfReach", "Projection", "Reconstruction", "Regression", "RejectionSampler", "SteeringError",
    "SteeringWarning", "Target", "Traversal", "UnknownWord", "best_axes", "compare_with_svm", "conditional_normal",
    "decode_latent", "draw_patches", "edit_inversion", "encode_latent", "entanglement_table", "exact_traversal",
    "exact_traversals", "first_guess", "fit_directions", "fit_regression", "generate", "invert", "invert_sketch",
    "invert_sketch_in_steps", "latent_traversal", "local_changes", "measure_latents", "observed_holds", "open_latent",
    "orthogonal_complement", "parse_description", "prior_norm_range", "project", "reach", "read_sketch", "reconstruct",
    "reconstruct_in_steps", "refine_layerwise", "render", "sample_latents", "sampler_for", "shift", "sketch_patch",
    "steer", "vocabulary", "with_layerwise",
]  # fmt: skip

__getattr__, __dir__ = lazily(
    __name__,
    {
        "conditional": "NothingLeft conditional_normal orthogonal_complement",
        "carried": "with_layerwise",
        "layerwise": "refine_layerwise",
        "direct": "HOLD_SLACK steer",
        "directions": "Directions NoDirection fit_directions",
        "drawing": "draw_patches",
        "editing": "Traversal latent_traversal shift",
        "exact_traversal": "exact_traversal exact_traversals",
        "inversion": "Inversion invert",
        "inverted_edits": "edit_inversion observed_holds",
        "latent_text": "decode_latent encode_latent open_latent",
        "latents": "LatentTable SteeringError SteeringWarning measure_latents prior_norm_range render sample_latents",
        "entanglement": "EntanglementTable entanglement_table local_changes",
        "projection": "Projection best_axes project",
        "reconstruction": "Reconstruction first_guess reconstruct reconstruct_in_steps",
        "regression": "Regression compare_with_svm fit_regression",
        "rejection": "RejectionSampler sampler_for",
        "sketch": "Blob invert_sketch invert_sketch_in_steps read_sketch sketch_patch",
        "targeting": "Answer OutOfReach generate reach",
        "vocabulary": "Target UnknownWord parse_description vocabulary",
    },
)
