"""Steering: which way in latent space a physical parameter changes, and how to use it.

Look-up table of latents, directions from linear support vector machines, conditional directions, strips of edits,
patches with given properties, and the latent vector of a given patch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy import lazily

if TYPE_CHECKING:
    from .conditional import NothingLeft, conditional_normal, orthogonal_complement
    from .detail import add_detail, with_detail
    from .direct import HOLD_SLACK, steer
    from .directions import Directions, NoDirection, fit_directions
    from .editing import Strip, shift, strip
    from .following import follow, follow_many
    from .inversion import Inversion, invert
    from .latent_text import decode_latent, encode_latent
    from .latents import (
        LatentTable,
        SteeringError,
        SteeringWarning,
        measure_latents,
        prior_norm_range,
        render,
        sample_latents,
    )
    from .leak import LeakTable, leak_table, local_changes
    from .projection import Projection, best_axes, project
    from .regression import Regression, compare_with_svm, fit_regression
    from .targeting import Answer, OutOfReach, generate, reach
    from .vocabulary import Target, UnknownWord, parse_description, vocabulary

__all__ = [
    "HOLD_SLACK",
    "Answer",
    "Directions",
    "Inversion",
    "LatentTable",
    "LeakTable",
    "NoDirection",
    "NothingLeft",
    "OutOfReach",
    "Projection",
    "Regression",
    "SteeringError",
    "SteeringWarning",
    "Strip",
    "Target",
    "UnknownWord",
    "add_detail",
    "best_axes",
    "compare_with_svm",
    "conditional_normal",
    "decode_latent",
    "encode_latent",
    "fit_directions",
    "fit_regression",
    "follow",
    "follow_many",
    "generate",
    "invert",
    "leak_table",
    "local_changes",
    "measure_latents",
    "orthogonal_complement",
    "parse_description",
    "prior_norm_range",
    "project",
    "reach",
    "render",
    "sample_latents",
    "shift",
    "steer",
    "strip",
    "vocabulary",
    "with_detail",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "conditional": "NothingLeft conditional_normal orthogonal_complement",
        "detail": "add_detail with_detail",
        "direct": "HOLD_SLACK steer",
        "directions": "Directions NoDirection fit_directions",
        "editing": "Strip shift strip",
        "following": "follow follow_many",
        "inversion": "Inversion invert",
        "latent_text": "decode_latent encode_latent",
        "latents": "LatentTable SteeringError SteeringWarning measure_latents prior_norm_range render sample_latents",
        "leak": "LeakTable leak_table local_changes",
        "projection": "Projection best_axes project",
        "regression": "Regression compare_with_svm fit_regression",
        "targeting": "Answer OutOfReach generate reach",
        "vocabulary": "Target UnknownWord parse_description vocabulary",
    },
)
