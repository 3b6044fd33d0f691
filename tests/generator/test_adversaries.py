"""What the discriminator is taught: to believe in patches of the data, and not in generated ones."""

from __future__ import annotations

import dataclasses
import json

import numpy as np

from solquery.config import get_preset
from solquery.generator.training import train_generator


def test_the_discriminator_learns_to_tell_real_from_generated(tmp_path):
    # a board that no generator of these layers draws within a few epochs
    board = np.where(np.add.outer(np.arange(32) // 4, np.arange(32) // 4) % 2, 0.9, -0.9)
    data = np.stack([np.roll(board, k, axis=1) for k in range(8)] * 16).astype(np.float32)
    config = dataclasses.replace(get_preset("tiny").generator, epochs=8, batch=16)
    train_generator(config, data, tmp_path / "run", (32, 32), seed=0)
    lines = [json.loads(line) for line in (tmp_path / "run" / "stats.jsonl").read_text().splitlines()]
    told = [line["discriminator_accuracy"] for line in lines if "discriminator_accuracy" in line]
    assert told and max(told) > 0.9
