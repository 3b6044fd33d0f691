"""A small archive and model with the interface that retrieval relies on, and nothing else."""

from __future__ import annotations

import re
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import torch
from scipy.ndimage import gaussian_filter

from solquery.config import get_preset
from solquery.encoder import build_encoder


def smooth_fields(n, size=32, seed=0, sigma=2.5):
    """(n, size, size) float32 within [-1, 1], different from each other everywhere."""
    rng = np.random.default_rng(seed)
    fields = np.stack([gaussian_filter(rng.standard_normal((size, size)), sigma) for _ in range(n)])
    return np.clip(fields / (3 * fields.std()), -1, 1).astype(np.float32)


class MemoryArchive:
    """Patches in preset units and a table, with the few SQL conditions that these tests use."""

    uri = "memory.lance"

    def __init__(self, x, regions, sources=None):
        self.x = x
        self.ids = [f"p{i:03d}" for i in range(len(x))]
        self.columns = {"id": self.ids, "region": list(regions), "source": list(sources or ["simulated"] * len(x))}

    def table(self, columns=None, where=None):
        table = pa.table(self.columns)
        if where is not None:
            table = table.filter(self._mask(table, where))
        return table.select(columns) if columns is not None else table

    def _mask(self, table, where):
        if where == "id IS NULL":
            return pc.is_null(table["id"])
        if match := re.fullmatch(r"(\w+) = '(.*)'", where):
            return pc.equal(table[match[1]], match[2])
        if match := re.fullmatch(r"id IN \((.*)\)", where):
            return pc.is_in(table["id"], pa.array([part.strip(" '") for part in match[1].split(",")]))
        raise AssertionError(f"condition not known to this archive: {where}")

    def prepared(self, preset, where=None, ids=None):
        chosen = list(self.ids if ids is None else ids)
        return chosen, self.x[[self.ids.index(i) for i in chosen]]

    def without_scale(self, preset=None):
        return []

    def set_columns(self, ids, values):
        rows = [self.ids.index(i) for i in ids]
        for name, new in values.items():
            new = np.asarray(new)
            old = self.columns.get(name)
            full = old.to_pylist() if old is not None and name in self.columns else [None] * len(self.ids)
            for row, value in zip(rows, new.tolist(), strict=True):
                full[row] = value
            kind = pa.list_(pa.float32(), new.shape[1]) if new.ndim == 2 else None
            self.columns[name] = pa.array(full, type=kind)


@pytest.fixture
def fields():
    return smooth_fields(40)


@pytest.fixture
def archive(fields):
    return MemoryArchive(
        fields, [f"R{i // 4}" for i in range(40)], ["real" if i % 10 == 0 else "simulated" for i in range(40)]
    )


@pytest.fixture
def model():
    torch.set_num_threads(1)
    preset = get_preset("tiny")
    encoder = build_encoder(preset.encoder, seed=3)
    with torch.no_grad():  # statistics of the batch normalisations, as after training
        encoder.train()
        for _ in range(20):
            encoder(torch.from_numpy(smooth_fields(64, seed=9)).unsqueeze(1))
    return SimpleNamespace(name="tiny", preset=preset, encoder=encoder.eval(), encoder_hash="0123456789abcdef")
