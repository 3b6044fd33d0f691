"""Settings of every stage and the named presets.

The classes are frozen standard-library dataclasses, so that both trainers run with numpy, torch, scipy and
safetensors alone; `validated` builds one from untrusted input (a JSON file, the command line) through pydantic.
"""

from __future__ import annotations

from .encoder import AugmentConfig, EncoderConfig
from .generator import (
    GeneratorConfig,
    PaperGanConfig,
    VaeGanConfig,
    changed,
    config_class,
    for_its_method,
    of_its_method,
)
from .preset import Preset
from .presets import PRESETS, get_preset, preset_of_run
from .renamed import with_current_names
from .validation import validated

__all__ = [
    "PRESETS", "AugmentConfig", "EncoderConfig", "GeneratorConfig", "PaperGanConfig", "Preset", "VaeGanConfig",
    "changed", "config_class", "for_its_method", "get_preset", "of_its_method", "preset_of_run", "validated",
    "with_current_names",
]  # fmt: skip
