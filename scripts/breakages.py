"""The list for `break_and_test.py`: what is broken on purpose, and which test must notice."""

from __future__ import annotations

from typing import NamedTuple


class Breakage(NamedTuple):
    """`old` in `file` (below src/solquery) becomes `new`; `test` (below tests) must fail."""

    name: str
    file: str
    old: str
    new: str
    test: str


# what is measured runs in compiled passes; the definitions that they are held to are broken as well
BREAKAGES = [
    Breakage(
        "compiled-tuf",
        "physics/kernels.py",
        "            a += abs(value)",
        "            a += value",
        "physics/test_integral_geometry.py",
    ),
    Breakage(
        "compiled-near-lines",
        "physics/kernels.py",
        "if near[y, x] == 3 else _ZERO",
        "if near[y, x] >= 2 else _ZERO",
        "physics/test_integral_geometry.py",
    ),
    Breakage(
        "compiled-tilt",
        "physics/fast.py",
        "np.arctan2(dy * leads, dx * leads)",
        "np.arctan2(dx * leads, dy * leads)",
        "physics/test_integral_geometry.py",
    ),
    Breakage(
        "tuf",
        "physics/integral.py",
        "integrate(fields.abs(), scale)",
        "integrate(fields, scale)",
        "physics/test_fast.py",
    ),
    Breakage(
        "polarity-threshold",
        "physics/integral.py",
        "fields if sign > 0 else -fields",
        "-fields if sign > 0 else fields",
        "physics/test_fast.py",
    ),
    Breakage(
        "gradient-scale",
        "physics/texture.py",
        "dy = dy / scale[:, 0, None, None]",
        "dy = dy / scale[:, 1, None, None]",
        "physics/test_fast.py",
    ),
    Breakage(
        "spectrum-half-plane",
        "physics/texture.py",
        "(2 * cycles == length), 1.0, 2.0)",
        "(2 * cycles == length), 1.0, 1.0)",
        "physics/test_texture.py",
    ),
    Breakage(
        "preset-unit",
        "config/preset.py",
        "self.clip_gauss) / self.unit_gauss",
        "self.clip_gauss) / 500.0",
        "archive/test_prepare.py",
    ),
    Breakage(
        "area-average",
        "archive/prepare.py",
        "np.clip(np.minimum(end, right) - np.maximum(begin, left), 0, None) / n",
        "(np.minimum(end, right) > np.maximum(begin, left)) / n",
        "archive/test_prepare.py",
    ),
    Breakage("quality-bits", "sharp/quality.py", "if quality & _ECLIPSE:", "if False:", "sharp/test_fits.py"),
    Breakage("limb", "sharp/limb.py", "np.sin(lat) * ox", "np.sin(lat) * oy", "sharp/test_limb.py"),
    Breakage(
        "split",
        "archive/split.py",
        '{"split": [parts[row["region"]] for row in rows]',
        '{"split": [part_of(row["id"], seed, given) for row in rows]',
        "archive/test_archive_care.py",
    ),
    Breakage(
        "duplicates",
        "archive/writing.py",
        "return AddReport(added, duplicates)",
        "return AddReport(added + duplicates, 0)",
        "archive/test_store.py",
    ),
    Breakage(
        "hale",
        "simulator/population.py",
        "law = (-1 if year < _CYCLE_25 else 1) * (1 if north else -1)",
        "law = 1",
        "sharp/test_hale.py",
    ),
    Breakage(
        "gan-labels",
        "generator/training.py",
        "F.softplus(-real).mean() + F.softplus(fake).mean()",
        "F.softplus(real).mean() + F.softplus(fake).mean()",
        "generator/test_adversaries.py",
    ),
    Breakage(
        "chosen-epoch",
        "generator/epoch_choice.py",
        "(discriminator(generator(z[part])) <= 0)",
        "(discriminator(generator(z[part])) > 0)",
        "generator/test_epoch_choice.py",
    ),
    Breakage(
        "normal-sign",
        "steering/directions.py",
        "normal = (svm.coef_[0] / size)",
        "normal = (-svm.coef_[0] / size)",
        "steering/test_directions.py",
    ),
    Breakage(
        "hold",
        "steering/conditional.py",
        "rest = rest - basis @ (basis.T @ rest)",
        "rest = x - 0.9 * (basis @ (basis.T @ x))",
        "steering/test_conditional.py",
    ),
    Breakage(
        "met", "steering/judge.py", "out &= values[name] == target.value", "out &= True", "steering/test_targeting.py"
    ),
    Breakage(
        "inversion-rate",
        "steering/inversion.py",
        "z = z - rate * mean",
        "z = z + rate * mean",
        "steering/test_inversion.py",
    ),
    Breakage(
        "nearest",
        "search/patch_list.py",
        "order = np.argsort(distances, axis=1",
        "order = np.argsort(-distances, axis=1",
        "search/test_index.py",
    ),
    Breakage(
        "once-a-row",
        "search/loading.py",
        "self._usable, self._models = _equal(models, model.encoder_hash), models.unique().to_pylist()",
        "self._usable = np.array([m == model.encoder_hash for m in models.to_pylist()])\n"
        "        self._models = models.unique().to_pylist()",
        "search/test_session.py",
    ),
    Breakage(
        "percentile",
        "search/explanation.py",
        "(distances > own[match.id]).mean()",
        "(distances < own[match.id]).mean()",
        "search/test_session.py",
    ),
    Breakage(
        "simsiam",
        "encoder/losses.py",
        "negative_cosine(predict(z2), z1)",
        "negative_cosine(predict(z2), z2)",
        "encoder/test_training.py",
    ),
    Breakage(
        "covariance",
        "search/baselines.py",
        "/ np.outer(s, s)) / np.outer(s, s)",
        "/ np.outer(s, s))",
        "search/test_baselines.py",
    ),
    Breakage(
        "model-checksum",
        "model_files.py",
        'if hashlib.sha256(data).hexdigest() != record["sha256"]:',
        "if False:",
        "test_model.py",
    ),
    Breakage("host-check", "app/security.py", "if not is_loopback(host):", "if False:", "app/test_security.py"),
    Breakage(
        "farside-place",
        "farside/ensemble.py",
        "np.ix_(-dy % shape[0], -dx % shape[1])",
        "np.ix_(dy % shape[0], dx % shape[1])",
        "farside/test_ensemble.py",
    ),
    Breakage(
        "farside-noise",
        "farside/refine.py",
        "found.field + deviation * grain",
        "found.field",
        "farside/test_ensemble.py",
    ),
    Breakage(
        "farside-sums",
        "farside/ensemble.py",
        "penalty + _of_sums(found, prior.maps)",
        "penalty",
        "farside/test_ensemble.py",
    ),
    Breakage("exit-code", "cli/root.py", "raise typer.Exit(1)", "raise typer.Exit(0)", "cli/test_contract.py"),
    Breakage(
        "lazy",
        "__init__.py",
        "from importlib import import_module",
        "import numpy\nfrom importlib import import_module",
        "test_imports.py",
    ),
    Breakage(
        "rooms",
        "physics/units.py",
        "from __future__ import annotations\n",
        "from __future__ import annotations\n\nfrom ..study import figures\n",
        "test_layout.py",
    ),
    Breakage(
        "plugin-takes-a-name", "plugins.py", "        if taken:\n", "        if False:\n", "physics/test_plugins.py"
    ),
    Breakage(
        "tilt-axes",
        "physics/geometry.py",
        "    return torch.rad2deg(torch.atan2(step[:, 0], step[:, 1]))",
        "    return torch.rad2deg(torch.atan2(step[:, 1], step[:, 0]))",
        "physics/test_fast.py",
    ),
    Breakage(
        "sql-fence",
        "archive/sql.py",
        "enable_external_access = false",
        "enable_external_access = true",
        "archive/test_writing.py",
    ),
    Breakage(
        "datasum",
        "sharp/checksums.py",
        'b"DATASUM =" in content and _faults(content)[0]',
        "False",
        "archive/test_writing.py",
    ),
    Breakage(
        "part-above-whole", "steering/judge.py", "exact[part] > exact[whole]", "False", "steering/test_targeting.py"
    ),
    Breakage(
        "bootstrap-by-region",
        "study/reproduce_table.py",
        "np.asarray(groups)[known]\n",
        "np.arange(known.sum())\n",
        "study/test_reproduce_table.py",
    ),
    Breakage(
        "stage-hash", "study/reproduce_stages.py", 'before["key"] == key and ', "", "study/test_reproduce_stages.py"
    ),
    Breakage(
        "stage-files",
        "study/reproduce_stages.py",
        "and self._complete(before) and not again",
        "and not again",
        "study/test_reproduce_stages.py",
    ),
    Breakage(
        "greys",
        "grey.py",
        "np.arcsinh(field / SOFT_GAUSS) /",
        "np.arcsinh(field / LIMIT_GAUSS) /",
        "study/test_figures.py",
    ),
    Breakage(
        "covered-patches",
        "study/reproduce_figures.py",
        "(x - 0.48 * size[0], x + 0.48 * size[0],",
        "(x - 0.8 * size[0], x + 0.8 * size[0],",
        "study/test_figures.py",
    ),
    Breakage("polarity-counts", "search/hybrid.py", '"polarity": 1.0}', '"polarity": 0.0}', "search/test_hybrid.py"),
    Breakage(
        "old-index",
        "search/approximate.py",
        "        if about.version == version:\n",
        "        if True:\n",
        "search/test_approximate.py",
    ),
    Breakage(
        "contrastive",
        "encoder/losses.py",
        "torch.arange(2 * n, device=z.device).roll(n))",
        "torch.arange(2 * n, device=z.device))",
        "encoder/test_training.py",
    ),
    Breakage(
        "seeker-encoder",
        "generator/embedding_critic.py",
        "encoder = encoder.eval().requires_grad_(False)",
        "encoder = encoder.eval()",
        "generator/test_embedding_critic.py",
    ),
    Breakage(
        "seeker-critic",
        "generator/embedding_critic.py",
        "loss = F.softplus(self.critic(made.detach()) - on_real).mean()",
        "loss = F.softplus(on_real - self.critic(made.detach())).mean()",
        "generator/test_embedding_critic.py",
    ),
    Breakage(
        "asked-for",
        "study/quality.py",
        'return story.get("provenance", {}).get("encoder")',
        "return None",
        "study/test_quality_study.py",
    ),
    Breakage(
        "texture-scale",
        "generator/textures.py",
        "coarse, square = bands[:, :1], bands[:, 1:].square() * inside",
        "coarse, square = bands[:, :1], bands.square() * inside",
        "generator/test_textures.py",
    ),
    Breakage(
        "texture-border",
        "generator/textures.py",
        "inside = (there >= _MOSTLY).to(gauss.dtype)",
        "inside = torch.ones_like(there)",
        "generator/test_textures.py",
    ),
    Breakage(
        "mixtures",
        "generator/statistics_matching.py",
        "return torch.cat([scores, scores @ self.mixtures], 1)",
        "return torch.cat([scores, 0 * scores @ self.mixtures], 1)",
        "generator/test_textures.py",
    ),
    Breakage(
        "fine-grain",
        "generator/pyramid.py",
        "self.spread(self.strength(features) * noise.contiguous(memory_format=torch.channels_last))",
        "self.spread(self.strength(features) * noise[:, :1].contiguous(memory_format=torch.channels_last))",
        "generator/test_textures.py",
    ),
    Breakage(
        "cooling",
        "generator/vaegan.py",
        "cooling = min(1.0, (planned - step) * batch / config.decay_images)",
        "cooling = 1.0",
        "generator/test_textures.py",
    ),
    Breakage(
        "window-edge",
        "generator/footprint.py",
        "_from_middle(shape[axis], z.device) + 0.5).clamp(0.0, 1.0)",
        "_from_middle(shape[axis], z.device) + 0.5).round().clamp(0.0, 1.0)",
        "generator/test_footprint.py",
    ),
    Breakage(
        "window-ranks",
        "generator/footprint.py",
        "(order[:, k] + 0.5)",
        "(order.flip(0)[:, k] + 0.5)",
        "generator/test_footprint.py",
    ),
    Breakage(
        "cancellation",
        "simulator/elements.py",
        "lost = share * min(p, m) / (p if flux[k] > 0 else m)",
        "lost = share * min(p, m) / max(p, m)",
        "simulator/test_transport.py",
    ),
    Breakage(
        "unresolved-plage",
        "simulator/observation.py",
        "q = t * t - w * w + thin + q_noise[i, j]",
        "q = t * t - w * w + q_noise[i, j]",
        "simulator/test_observation.py",
    ),
    Breakage(
        "chosen-sign",
        "simulator/observation.py",
        "chosen = part if t + reference[i, j] > 0.0 else -part",
        "chosen = part if t > 0.0 else -part",
        "simulator/test_observation.py",
    ),
    Breakage(
        "anti-hale-share",
        "simulator/population.py",
        "ANTI_HALE_SHARE = 0.084",
        "ANTI_HALE_SHARE = 0.04",
        "simulator/test_population.py",
    ),
    Breakage(
        "quenching",
        "simulator/elements.py",
        "m = 1.0 / (1.0 + (b / quench_meso) ** 2)",
        "m = 1.0",
        "simulator/test_transport.py",
    ),
    Breakage(
        "kept-frames",
        "simulator/region.py",
        "for k in sorted(int(k) for k in chosen):",
        "for k in range(len(chosen)):",
        "simulator/test_region.py",
    ),
    Breakage(
        "structure-as-radial",
        "search/structure.py",
        "apart = np.where(self.radial, self._from(asked.as_radial), apart)",
        "apart = np.where(self.radial, self._from(-asked.as_radial), apart)",
        "search/test_structure.py",
    ),
    Breakage(
        "structure-root",
        "search/structure.py",
        "root = np.sign(x) * np.sqrt(np.abs(x))",
        "root = np.sqrt(np.abs(x))",
        "search/test_structure.py",
    ),
]
