"""SimSiam's loss, and a run that survives being stopped and killed."""

import dataclasses
import itertools
import json
import math
import time
import warnings

import numpy as np
import pytest
import torch
from memory_archive import smooth_fields
from started import processes

from solquery.config import AugmentConfig, EncoderConfig
from solquery.encoder.augment import augment, seeded_generator
from solquery.encoder.losses import LOSSES, contrastive, negative_cosine
from solquery.encoder.networks import build_encoder, build_predictor
from solquery.encoder.run_folder import EncoderRun
from solquery.encoder.supervision import supervision_loss
from solquery.encoder.training import (
    CollapseWarning,
    EncoderRunError,
    effective_rank,
    export_encoder,
    load_encoder,
    spread,
    train_encoder,
)
from solquery.training.run_folder import fingerprint

CFG = EncoderConfig(
    width=2,
    embedding_dim=8,
    projection_hidden=16,
    prediction_hidden=8,
    batch=8,
    images=96,
    augment=AugmentConfig(shift_px=2),
)


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture
def data():
    return smooth_fields(20, size=32).astype(np.float16)


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_no_gradient_reaches_the_target():
    p, z = torch.randn(4, 3, requires_grad=True), torch.randn(4, 3, requires_grad=True)
    negative_cosine(p, z).backward()
    assert p.grad.abs().sum() > 0
    assert z.grad is None


def test_loss_is_the_negative_cosine():
    p, z = torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.tensor([[3.0, 0.0], [1.0, 1.0]])
    assert negative_cosine(p, z).item() == pytest.approx(-(1 + np.sqrt(0.5)) / 2)


def test_simsiam_predicts_each_view_from_the_other():
    """Chen & He 2020, equation 2, written out; the views are as far apart as random ones."""
    rng = np.random.default_rng(2)
    z1, z2, matrix = (rng.standard_normal(shape) for shape in ((6, 5), (6, 5), (5, 5)))

    def cosines(p, z):
        return (p * z).sum(1) / np.linalg.norm(p, axis=1) / np.linalg.norm(z, axis=1)

    views = [torch.tensor(z, requires_grad=True) for z in (z1, z2)]
    loss = LOSSES["simsiam"](*views, lambda z: z @ torch.tensor(matrix), 0.1)
    expected = -(cosines(z1 @ matrix, z2).mean() + cosines(z2 @ matrix, z1).mean()) / 2
    assert loss.item() == pytest.approx(expected, abs=1e-6)
    loss.backward()
    assert all(view.grad.abs().sum() > 0 for view in views)  # both are learned from


def test_spread_and_rank_tell_isotropic_from_collapsed():
    z = torch.randn(2000, 16, generator=seeded_generator(0))
    assert spread(z) == pytest.approx(1, abs=0.02)
    assert effective_rank(z) == pytest.approx(16, abs=0.3)
    line = torch.randn(2000, 1, generator=seeded_generator(0)) * torch.ones(16)
    assert effective_rank(line) == pytest.approx(1, abs=1e-3)
    assert spread(torch.ones(10, 16)) == pytest.approx(0, abs=1e-6)


def test_a_stopped_run_goes_on_bit_for_bit(data, tmp_path):
    whole = train_encoder(CFG, data, tmp_path / "whole", seed=4, stats_images=16, device="cpu")
    assert whole.finished
    assert whole.images == 96
    for until in (24, 40, None):
        train_encoder(CFG, data, tmp_path / "parts", seed=4, stats_images=16, until_images=until, device="cpu")
    assert same(export_encoder(tmp_path / "whole"), export_encoder(tmp_path / "parts"))
    other = train_encoder(CFG, data, tmp_path / "other", seed=5, device="cpu")
    assert other.finished
    assert not same(export_encoder(tmp_path / "whole"), export_encoder(tmp_path / "other"))


def test_run_folder_is_complete_and_a_finished_run_stays_as_it_is(data, tmp_path):
    seen = []
    train_encoder(CFG, data, tmp_path, stats_images=32, device="cpu", progress=seen.append)
    lines = [json.loads(line) for line in (tmp_path / "stats.jsonl").read_text().splitlines()]
    assert [line["images"] for line in lines] == [32, 64, 96]
    assert [line["images"] for line in seen] == [32, 64, 96]
    assert {"loss", "embedding_std", "effective_rank", "images_per_s", "lr"} <= lines[0].keys()
    assert lines[0]["lr"] > lines[-1]["lr"] > 0
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["encoder"]["learning_rate"] == CFG.learning_rate
    assert config["data"]["shape"] == [20, 32, 32]
    assert list((tmp_path / "samples").glob("*.pgm"))
    before = export_encoder(tmp_path)
    assert train_encoder(CFG, data, tmp_path, stats_images=32, device="cpu").finished
    assert same(before, export_encoder(tmp_path))
    assert len((tmp_path / "stats.jsonl").read_text().splitlines()) == 3


def test_minutes_end_a_call_with_a_checkpoint(data, tmp_path):
    report = train_encoder(CFG, data, tmp_path, minutes=0, device="cpu")
    assert (report.images, report.finished) == (8, False)
    assert train_encoder(CFG, data, tmp_path, device="cpu").finished


def test_killed_at_any_moment_it_goes_on(data, tmp_path):
    run = tmp_path / "run"
    cfg = dataclasses.replace(CFG, images=8 * 4000)
    more = {"seed": 4, "checkpoint_seconds": 0, "stats_images": 16, "device": "cpu"}
    process = processes().Process(target=train_encoder, args=(cfg, data, run), kwargs=more)
    process.start()
    try:
        limit = time.monotonic() + 60
        while not (run / "checkpoints" / "last.pt").exists():
            assert process.is_alive(), "the training ended by itself"
            assert time.monotonic() < limit
            time.sleep(0.05)
        time.sleep(0.3)
    finally:
        process.kill()
        process.join()
    step = torch.load(run / "checkpoints" / "last.pt", weights_only=True)["step"]
    assert 0 < step < 4000
    with open(run / "stats.jsonl", "a") as file:
        file.write('{"images": 99')  # a line cut short
    until = (step + 3) * 8
    train_encoder(cfg, data, run, seed=4, stats_images=16, until_images=until, device="cpu")
    images = [json.loads(line)["images"] for line in (run / "stats.jsonl").read_text().splitlines()]
    assert images == sorted(set(images))
    train_encoder(cfg, data, tmp_path / "whole", seed=4, stats_images=16, until_images=until, device="cpu")
    assert same(export_encoder(run), export_encoder(tmp_path / "whole"))


def test_other_settings_or_data_are_refused(data, tmp_path):
    train_encoder(CFG, data, tmp_path, until_images=8, device="cpu")
    with pytest.raises(EncoderRunError, match=r"other settings or data \(encoder\): repeat those"):
        train_encoder(dataclasses.replace(CFG, learning_rate=0.1), data, tmp_path, device="cpu")
    with pytest.raises(EncoderRunError, match=r"other settings or data \(seed\)"):
        train_encoder(CFG, data, tmp_path, seed=1, device="cpu")
    with pytest.raises(EncoderRunError, match=r"other settings or data \(data\)"):
        train_encoder(CFG, -data, tmp_path, device="cpu")
    with pytest.raises(EncoderRunError, match=r"cannot fill a batch of 8"):
        train_encoder(CFG, data[:4], tmp_path / "few", device="cpu")


def test_a_folder_that_another_process_trains_in_is_refused(data, tmp_path):
    with EncoderRun(tmp_path, CFG, 0, data), pytest.raises(EncoderRunError, match="another process is training"):
        train_encoder(CFG, data, tmp_path, device="cpu")
    assert train_encoder(CFG, data, tmp_path, until_images=8, device="cpu").images == 8


@pytest.mark.parametrize("at", [4, 40])
def test_a_loss_that_is_not_finite_keeps_the_last_good_checkpoint(data, tmp_path, at):
    """Whether the line of statistics notices it first or the checkpoint does."""
    train_encoder(CFG, data, tmp_path, until_images=24, device="cpu")
    config = json.loads((tmp_path / "config.json").read_text())
    spoilt = np.where(np.arange(20)[:, None, None] % 2, data, np.nan).astype(np.float16)
    config["data"]["fingerprint"] = fingerprint(spoilt)
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(EncoderRunError, match=r"no longer finite.*last good state.*--learning-rate 0\.00625"):
        train_encoder(CFG, spoilt, tmp_path, stats_images=at * 8, checkpoint_seconds=0, device="cpu")
    good = torch.load(tmp_path / "checkpoints" / "last.pt", weights_only=True)
    assert good["step"] == 3 and all(torch.isfinite(t).all() for t in good["encoder"].values() if t.is_floating_point())


def test_what_is_no_run_is_refused(tmp_path, data):
    with pytest.raises(EncoderRunError, match="no run folder"):
        export_encoder(tmp_path / "nowhere")
    train_encoder(CFG, data, tmp_path, until_images=8, device="cpu")
    (tmp_path / "checkpoints" / "last.pt").write_bytes(b"PK")
    with pytest.raises(EncoderRunError, match=r"last\.pt cannot be read"):
        train_encoder(CFG, data, tmp_path, device="cpu")
    (tmp_path / "checkpoints" / "last.pt").unlink()
    with pytest.raises(EncoderRunError, match="no checkpoint yet"):
        export_encoder(tmp_path)


def test_the_prediction_head_learns_at_its_own_constant_rate(data, tmp_path):
    """The encoder's rate falls to nothing over the plan, the head's stays (Chen & He 2020, table 1)."""
    still = {}
    for name, rate in (("slow", 1e-9), ("fast", 10.0)):
        cfg = dataclasses.replace(CFG, learning_rate=1e-4, prediction_rate=rate, momentum=0.0, images=4 * CFG.batch)
        train_encoder(cfg, data, tmp_path / name, device="cpu", seed=3)
        state = torch.load(tmp_path / name / "checkpoints" / "last.pt", weights_only=False)
        groups = state["optimizer"]["param_groups"]
        assert groups[1]["lr"] == pytest.approx(1e-4 * rate)
        assert groups[0]["lr"] == pytest.approx(1e-4 * 0.5 * (1 + math.cos(0.75 * math.pi)))
        fresh = build_predictor(cfg, 3).state_dict()["layers.3.weight"]
        still[name] = float((state["predictor"]["layers.3.weight"] - fresh).abs().max())
    assert still["slow"] < 1e-9 < still["fast"]
    with pytest.raises(ValueError, match="prediction_rate must be positive"):
        dataclasses.replace(CFG, prediction_rate=0.0)


def test_weights_of_a_run_on_coarser_pixels_begin_one_on_all(data, tmp_path):
    """The convolutions are the same: a first part of a training may be shown means of pixels."""
    coarse = dataclasses.replace(CFG, downsample=2, images=2 * CFG.batch)
    train_encoder(coarse, data, tmp_path / "coarse", device="cpu", seed=3)
    full = dataclasses.replace(CFG, learning_rate=1e-12, images=CFG.batch)
    train_encoder(full, data, tmp_path / "full", device="cpu", seed=4, start=tmp_path / "coarse")
    a, b = (load_encoder(tmp_path / name) for name in ("coarse", "full"))
    assert (a.downsample, b.downsample) == (2, 1)
    for (name, one), two in zip(a.named_parameters(), b.parameters(), strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=1e-6, msg=name)


def test_equal_patches_are_reported_as_a_collapse(tmp_path):
    equal = np.zeros((16, 32, 32), np.float32)
    with pytest.warns(CollapseWarning, match="collapsed"):
        train_encoder(CFG, equal, tmp_path, until_images=16, device="cpu")


def test_contrastive_loss_is_least_where_each_view_is_nearest_its_own_patch():
    z = torch.eye(4)
    found = contrastive(z, z, None, 0.1).item()
    assert found == pytest.approx(np.log(1 + 6 * np.exp(-10)), abs=1e-5)
    assert contrastive(z, z.roll(1, 0), None, 0.1).item() == pytest.approx(10 + np.log(1 + 6 * np.exp(-10)), rel=1e-4)


@dataclasses.dataclass(frozen=True)
class _Contrastive(EncoderConfig):
    loss: str = "contrastive"
    temperature: float = 0.1


@dataclasses.dataclass(frozen=True)
class _VICReg(EncoderConfig):
    loss: str = "vicreg"


@dataclasses.dataclass(frozen=True)
class _Barlow(EncoderConfig):
    loss: str = "barlow"


@pytest.mark.parametrize(("kind", "steps"), [(EncoderConfig, 200), (_Contrastive, 80), (_VICReg, 80), (_Barlow, 80)])
def test_training_learns_to_recognise_views(tmp_path, kind, steps):
    """The copy of a patch comes to lie nearer its original among 256 than in the untrained embedding."""
    data = smooth_fields(256, size=32, seed=3, sigma=3.0)
    cfg = kind(
        width=8,
        embedding_dim=16,
        projection_hidden=64,
        prediction_hidden=16,
        batch=32,
        images=32 * steps,
        learning_rate=0.05,
        augment=AugmentConfig(shift_px=1, zoom=(0.95, 1.05), rotation_deg=5, vertical_flip=False),
    )
    x = torch.from_numpy(data).unsqueeze(1)
    views = augment(x, cfg.augment, seeded_generator(0))

    def median_rank(encoder):
        with torch.no_grad():
            distances = torch.cdist(encoder.eval()(views), encoder(x))
        return (distances < distances.diagonal().unsqueeze(1)).sum(1).median().item()

    fresh = build_encoder(cfg)
    before = median_rank(fresh)
    with warnings.catch_warnings():
        warnings.simplefilter("error", CollapseWarning)
        train_encoder(cfg, data, tmp_path, device="cpu")
    fresh.load_state_dict(export_encoder(tmp_path))
    after = median_rank(fresh)
    assert after < 0.7 * before


def test_the_exported_encoder_is_that_of_the_run(data, tmp_path):
    train_encoder(CFG, data, tmp_path, device="cpu")
    encoder = load_encoder(tmp_path)
    assert not encoder.training
    assert same(encoder.state_dict(), export_encoder(tmp_path))


def test_what_is_not_known_is_not_taught():
    z = torch.tensor([[1.0, 2.0, 9.0], [3.0, 4.0, 9.0]], requires_grad=True)
    taught = torch.tensor([[0.0, float("nan")], [3.0, 2.0]])
    loss = supervision_loss(z, taught)
    assert loss.item() == pytest.approx((1.0 + 0.0 + 4.0) / 3)
    loss.backward()
    assert z.grad[0, 1] == 0.0 and (z.grad[:, 2] == 0.0).all() and torch.isfinite(z.grad).all()


def test_taught_numbers_follow_the_parameter_on_unseen_patches(tmp_path):
    """Rank correlation of unsigned flux with the number that was taught it, and with one that was not."""
    rng = np.random.default_rng(6)
    strength = rng.uniform(0.2, 1.0, 320)
    patches = smooth_fields(320, size=32, seed=4, sigma=2.0) * strength[:, None, None]
    cfg = dataclasses.replace(
        CFG, width=8, embedding_dim=8, batch=32, images=32 * 200, learning_rate=0.05, bands=True,
        physics=("tuf",), physics_dims=1, physics_weight=2.0,
    )  # fmt: skip
    train_encoder(cfg, patches[:256].astype(np.float32), tmp_path, device="cpu")
    with torch.no_grad():
        z = load_encoder(tmp_path)(torch.from_numpy(patches[256:]).float().unsqueeze(1))
    flux = torch.from_numpy(np.abs(patches[256:]).sum((1, 2)))
    found = np.corrcoef(z[:, 0].argsort().argsort(), flux.argsort().argsort())[0, 1]
    assert found > 0.8


def test_lessons_need_room_in_the_embedding():
    with pytest.raises(ValueError, match="physics takes 12 numbers of 8"):
        dataclasses.replace(CFG, physics=("tuf", "r", "psep", "tpf"), physics_dims=3)
    with pytest.raises(ValueError, match="exclude each other"):
        dataclasses.replace(CFG, bands=True, downsample=2)


def test_a_run_ends_at_a_collapse_if_asked(tmp_path):
    equal = np.zeros((16, 32, 32), np.float32)
    with pytest.raises(EncoderRunError, match=r"collapsed at image 16 .*another loss"):
        train_encoder(CFG, equal, tmp_path, stats_images=16, device="cpu", stop_on_collapse=True)
    assert torch.load(tmp_path / "checkpoints" / "last.pt", weights_only=True)["step"] == 2
    assert len((tmp_path / "stats.jsonl").read_text().splitlines()) == 1


def test_a_run_from_before_a_setting_existed_goes_on(data, tmp_path):
    train_encoder(CFG, data, tmp_path, until_images=8, device="cpu")
    config = json.loads((tmp_path / "config.json").read_text())
    del config["encoder"]["augment"]["pixel_aspect"], config["encoder"]["physics_weight"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert train_encoder(CFG, data, tmp_path, device="cpu").finished


def embeddings(seed, n=32, d=8):
    return torch.randn(n, d, generator=seeded_generator(seed))


@pytest.mark.parametrize("name", ["contrastive", "vicreg", "barlow"])
def test_equal_views_lose_less_than_foreign_ones(name):
    z = embeddings(0)
    loss = LOSSES[name]
    assert loss(z, z + 0.01 * embeddings(1), None, 0.1) < loss(z, z.roll(1, 0), None, 0.1)


@pytest.mark.parametrize("name", ["vicreg", "barlow"])
def test_numbers_that_repeat_each_other_cost(name):
    z = embeddings(0)
    repeated = z[:, :1].repeat(1, 8)
    assert LOSSES[name](repeated, repeated, None, 0.1) > LOSSES[name](z, z, None, 0.1)


def test_vicreg_and_barlow_are_those_of_their_papers():
    """Against the formulas written out in loops."""
    a, b = embeddings(2, 6, 3).numpy().astype(float), embeddings(3, 6, 3).numpy().astype(float)
    invariance = sum(((a[i] - b[i]) ** 2).sum() for i in range(6)) / 18
    variance = covariance = on = off = 0.0
    for z in (a, b):
        c = np.cov(z, rowvar=False)
        for i in range(3):
            variance += max(0.0, 1 - np.sqrt(c[i, i] + 1e-4)) / 3 / 2
            covariance += sum(c[i, j] ** 2 for j in range(3) if j != i) / 3
    expected = 25 * invariance + 25 * variance + covariance
    x, y = torch.from_numpy(a), torch.from_numpy(b)
    assert LOSSES["vicreg"](x, y, None, 0.1).item() == pytest.approx(expected, rel=1e-5)
    for i in range(3):
        for j in range(3):
            c = np.corrcoef(a[:, i], b[:, j])[0, 1]
            on, off = (on + (1 - c) ** 2, off) if i == j else (on, off + c**2)
    assert LOSSES["barlow"](x, y, None, 0.1).item() == pytest.approx(25 * (on + 0.005 * off) / 3, rel=1e-3)


def test_siblings_are_shown_together_and_every_patch_once_an_epoch():
    from solquery.encoder.training import _Batches

    data = np.arange(46, dtype=np.float32)[:, None, None] * np.ones((1, 2, 2), np.float32)
    batches = _Batches(data, 8, 3, torch.device("cpu"), frames_per_region=4)
    assert batches.per_epoch == 5
    first = [batches.index(step) for step in range(5)]
    rows = np.concatenate(first)
    assert len(set(rows.tolist())) == 40  # none twice
    for batch in first:
        together = [(a, b) for a in batch for b in batch if (b - a) % 46 == 1]
        assert len(together) >= 6  # two blocks of four that follow each other
    second = np.concatenate([batches.index(step) for step in range(5, 10)])
    assert not np.array_equal(np.sort(rows), np.sort(second)) or not np.array_equal(rows, second)
    alone = _Batches(data, 8, 3, torch.device("cpu"))
    assert sum(int(b - a == 1) for a, b in itertools.pairwise(alone.index(0))) < 6
    with pytest.raises(ValueError, match="frames_per_region"):
        dataclasses.replace(CFG, frames_per_region=3, batch=16)


def test_a_new_run_begins_with_the_weights_of_another(tmp_path, data):
    train_encoder(CFG, data, tmp_path / "first", stats_images=32, device="cpu")
    slow = dataclasses.replace(CFG, learning_rate=1e-9, images=CFG.batch)
    train_encoder(slow, data, tmp_path / "second", stats_images=32, device="cpu", start=tmp_path / "first")
    assert json.loads((tmp_path / "second" / "start.json").read_text())["from"] == "first"
    before, after = (
        torch.load(tmp_path / run / "checkpoints" / "last.pt", weights_only=True) for run in ("first", "second")
    )
    weights = [name for name, _ in build_encoder(CFG, 0).named_parameters()]
    assert all(torch.allclose(before["encoder"][k], after["encoder"][k], atol=1e-5) for k in weights)
    with pytest.raises(EncoderRunError, match="no checkpoint to start from"):
        train_encoder(CFG, data, tmp_path / "third", device="cpu", start=tmp_path / "nothing")
    with pytest.raises(EncoderRunError, match="of another kind"):
        wider = dataclasses.replace(CFG, width=8)
        train_encoder(wider, data, tmp_path / "fourth", device="cpu", start=tmp_path / "first")


@pytest.mark.parametrize("name", ["physical", "paper"])  # of sixteen and of eight bits
def test_a_new_run_begins_with_the_encoder_of_a_model(tmp_path, data, name):
    from solquery import Model
    from solquery.config import get_preset
    from solquery.model_parts import SHIPPED

    shipped = Model.load(name).encoder.state_dict()
    preset = get_preset(name)
    cfg = dataclasses.replace(preset.encoder, batch=8, images=8, learning_rate=1e-12, physics=())
    patches = np.random.default_rng(1).normal(0, 0.05, (8, *preset.shape)).astype(np.float32)
    train_encoder(cfg, patches, tmp_path / "run", stats_images=8, device="cpu", start=SHIPPED / name)
    after = torch.load(tmp_path / "run" / "checkpoints" / "last.pt", weights_only=True)["encoder"]
    weights = [name for name, _ in build_encoder(cfg, 0).named_parameters()]
    assert all(torch.allclose(shipped[k].float(), after[k], atol=1e-5) for k in weights)
    # batch normalisation goes on learning its statistics
    assert any(not torch.equal(shipped[k], after[k]) for k in shipped if k.endswith("running_mean"))
    with pytest.raises(EncoderRunError, match="model of the same preset"):
        train_encoder(CFG, data, tmp_path / "other", device="cpu", start=SHIPPED / "physical")
