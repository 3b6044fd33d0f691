"""The approximate index of an archive: finds what exact search finds, and never answers from what does not fit."""

import json
import os
import shutil
import signal
import sys
import warnings
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
import torch
from started import processes

from solquery.archive import Archive
from solquery.archive.verify import verify
from solquery.config import get_preset
from solquery.search import (
    IndexingError,
    SearchError,
    SearchSession,
    approximate,
    approximate_build,
    approximate_files,
    build_index,
    closeness,
    load_index,
    open_index,
    search,
)
from solquery.search.closeness import closeness_of, quick_closeness

pytest.importorskip("faiss")

ROWS, REGIONS, LENGTH = 20_000, 700, 24
HASH = "feedfacefeedface0123"


def clustered(rows, seed):
    """Embeddings (rows, LENGTH) of regions whose frames are near-duplicates, regions and all, in shuffled order."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(5).standard_normal((REGIONS, LENGTH)) * np.geomspace(6, 0.5, LENGTH)
    which = rng.integers(0, REGIONS, rows)
    return (centres[which] + 0.3 * rng.standard_normal((rows, LENGTH))).astype(np.float32), which


def fill(archive, vectors, regions, start=0):
    """Rows with embeddings and without fields, which no search reads."""
    rng = np.random.default_rng(start)
    n = len(vectors)
    given = {
        "id": [f"p{i:06d}" for i in rng.permutation(np.arange(start, start + n))],
        "region": [f"R{r:04d}" for r in regions],
        "source": ["real" if i % 100 == 0 else "simulated" for i in range(n)],
        "mu": rng.random(n),
        "embedding": pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), LENGTH),
        "embedding_model": [HASH] * n,
    }
    schema = archive._patches.schema
    columns = {}
    for field in schema:
        if field.name in given:
            columns[field.name] = pa.array(given[field.name], field.type)
        elif field.nullable:
            columns[field.name] = pa.nulls(n, field.type)
        else:
            columns[field.name] = pa.array(["" if pa.types.is_string(field.type) else 0] * n, field.type)
    archive._patches.add(pa.table(columns, schema=schema))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with an archive and its index; tests copy it."""
    folder = tmp_path_factory.mktemp("ann") / "archive"
    archive = Archive.create(folder)
    archive._patches.add_columns(
        [pa.field("embedding", pa.list_(pa.float32(), LENGTH)), pa.field("embedding_model", pa.string())]
    )
    vectors, regions = clustered(ROWS, 0)
    vectors[100:110] = vectors[100]
    fill(archive, vectors[:15_000], regions[:15_000])
    fill(archive, vectors[15_000:], regions[15_000:], 15_000)
    told = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(approximate_build, "_ASKED", 40)
        about = build_index(archive, model_of(), lambda what, fraction: told.append(fraction))
    assert told == sorted(told) and told[-1] == 1.0
    return SimpleNamespace(folder=folder, about=about, vectors=vectors)


def model_of(code=HASH):
    preset = get_preset("tiny")
    mixing = torch.from_numpy(np.random.default_rng(1).standard_normal((preset.shape[0] * preset.shape[1], LENGTH)))
    return SimpleNamespace(
        name="tiny", preset=preset, encoder_hash=code, encoder=lambda x: x.flatten(1) @ mixing.float() * 0.3
    )


@pytest.fixture
def model(monkeypatch):
    monkeypatch.setattr(approximate_build, "_ASKED", 10)  # recall is measured once, above
    return model_of()


@pytest.fixture
def archive(made):
    return Archive.open(made.folder)


@pytest.fixture
def copied(made, tmp_path):
    shutil.copytree(made.folder, tmp_path / "archive")
    return Archive.open(tmp_path / "archive")


@pytest.fixture(scope="module")
def queries():
    return clustered(60, 3)[0] + np.random.default_rng(0).standard_normal((60, LENGTH)).astype(np.float32)


def alike(got, expected):
    """Share of the expected ids that were found."""
    pairs = list(zip(got, expected, strict=True))
    assert all(len(a) == len(b) for a, b in pairs)
    return np.mean([len({m.id for m in a} & {m.id for m in b}) / max(len(b), 1) for a, b in pairs])


@pytest.mark.parametrize("group", ["none", "region"])
@pytest.mark.parametrize("where", [None, "mu < 0.5", "source = 'real'", "source = 'real' AND mu < 0.02"])
@pytest.mark.parametrize("by_lists", [True, False])
def test_it_finds_what_exact_search_finds(archive, model, queries, group, where, by_lists, monkeypatch):
    # the lists are to answer also where few rows meet a condition
    monkeypatch.setattr(approximate, "EXACT_ROWS", 0 if by_lists else 10**9)
    index, exact = open_index(archive, model), load_index(archive, model, where)
    got = index.nearest(queries, 10, group, None, where)
    expected = exact.nearest(queries, 10, group)
    assert alike(got, expected) >= (0.98 if by_lists or where is None else 1.0)
    for line, truth in zip(got, expected, strict=True):
        assert [m.rank for m in line] == list(range(1, len(line) + 1))
        if group == "region":
            assert len({m.region for m in line}) == len(line)
        if [m.id for m in line] == [m.id for m in truth]:
            # the same numbers, not nearly the same: distances come from the embeddings, not from their codes
            assert line == truth
    if where is None or not by_lists:
        assert sum(a == b for a, b in zip(got, expected, strict=True)) >= 0.9 * len(queries)


def test_measured_recall_is_kept_and_reached(made):
    for setting in made.about.settings.values():
        assert setting.recall >= 0.99
        assert 1 <= setting.probes <= made.about.lists
    assert (made.about.rows, made.about.without, made.about.length) == (ROWS, 0, LENGTH)
    on_disk = sum(
        f.stat().st_size for f in (made.folder / "index").rglob("*") if f.is_file() and f.name != "about.json"
    )
    assert made.about.bytes == on_disk


def test_equal_embeddings_come_in_the_order_of_their_ids(archive, model, made):
    index, exact = open_index(archive, model), load_index(archive, model)
    got, expected = (one.nearest(made.vectors[100], 10, "none")[0] for one in (index, exact))
    assert {m.distance for m in got} == {0.0}
    assert got == expected
    assert [m.id for m in got] == sorted(m.id for m in got)


def test_regions_left_out_are_left_out(archive, model, made, queries, monkeypatch):
    monkeypatch.setattr(approximate, "EXACT_ROWS", 0)
    index, exact = open_index(archive, model), load_index(archive, model)
    first = {m.region for m in exact.nearest(queries[0], 5)[0]}
    for where in (None, "mu < 0.5"):
        got = index.nearest(queries[:1], 10, "region", first, where)
        assert not first & {m.region for m in got[0]}
        assert alike(got, load_index(archive, model, where).nearest(queries[:1], 10, "region", first)) >= 0.9
    assert index.nearest(queries[0], 3, "none", "no such region") == index.nearest(queries[0], 3, "none")


def test_more_wanted_than_there_is(archive, model, queries, monkeypatch):
    monkeypatch.setattr(approximate, "EXACT_ROWS", 0)
    index = open_index(archive, model)
    assert len(index.nearest(queries[0], 10_000)[0]) == REGIONS
    assert len(index.nearest(queries[0], 500, "none", None, "source = 'real' AND mu < 0.5")[0]) == len(
        archive.ids("source = 'real' AND mu < 0.5")
    )
    with pytest.raises(SearchError, match="no patch matches 'mu > 2'; widen"):
        index.nearest(queries[0], 5, where="mu > 2")
    with pytest.raises(ValueError, match=r"cannot filter by 'flux > '.*; the columns are: id"):
        index.nearest(queries[0], 5, where="flux > ")


def test_search_uses_it_by_itself(archive, model, monkeypatch):
    x = np.random.default_rng(8).uniform(-0.5, 0.5, model.preset.shape).astype(np.float32)
    monkeypatch.setattr(approximate.files, "indexes", lambda path: [])
    exact = search(archive, model, x, 5, "mu > 0.1", rerank=0)
    monkeypatch.undo()
    monkeypatch.setattr("solquery.search.session.Embedded", None)
    got = search(archive, model, x, 5, "mu > 0.1", rerank=0)
    assert [(m.id, m.distance, m.row["id"]) for m in got] == [(m.id, m.distance, m.row["id"]) for m in exact]


# ------------------------------------------------- what does not fit is not used


def test_an_archive_that_has_changed_is_searched_without(copied, model, queries):
    assert open_index(copied, model) is not None
    new, regions = clustered(50, 9)
    new[:] = queries[0]
    fill(copied, new, regions, ROWS)
    with pytest.warns(
        UserWarning, match=r"the index is of version \d+ of the archive, which is \d+ by now.*again with"
    ):
        assert open_index(copied, model) is None
    about = build_index(copied, model)
    assert about.rows == ROWS + 50
    assert [folder for _, folder in approximate_files.indexes(copied.path)] == [
        p for p in (copied.path / "index").iterdir() if p.is_dir()
    ]
    assert open_index(copied, model).nearest(queries[0], 1, "none")[0][0].distance == 0


def test_what_is_written_while_an_index_is_open_does_not_move_its_rows(copied, model, queries):
    index = open_index(copied, model)
    before = index.nearest(queries, 5, "none", None, "mu < 0.3")
    index._conditions.clear()
    ids = copied.ids()[:5000]
    copied.set_columns(ids, {"mark": np.arange(5000.0)})
    copied.optimize()
    assert index.nearest(queries, 5, "none", None, "mu < 0.3") == before


def test_an_index_for_another_encoder_is_not_used(archive):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert open_index(archive, model_of("0123456789abcdef")) is None
    with pytest.raises(SearchError, match=r"no embedding by the encoder and preset of model 'tiny'.*archive embed"):
        build_index(archive, model_of("0123456789abcdef"))


@pytest.mark.parametrize("name", ["lists.faiss", "codes.npy", "places.npy", "vectors.npy", "about.json", "ids.arrow"])
@pytest.mark.parametrize("how", ["cut", "gone", "other"])
def test_a_damaged_index_is_not_used(copied, model, name, how):
    path = next((copied.path / "index").glob(f"*/{name}"))
    if how == "gone":
        path.unlink()
    elif how == "cut":
        os.truncate(path, path.stat().st_size // 2)
    else:
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 0xFF
        path.write_bytes(data)
    whole = how == "other" and name in ("vectors.npy", "ids.arrow")
    if name == "about.json" and how != "other":
        # without it, it is no index
        assert open_index(copied, model) is None
    elif whole:
        # too much to be read at every opening; `solquery index --check` reads it
        about, folder = approximate_files.indexes(copied.path)[0]
        with pytest.raises(approximate_files.Damaged, match=f"{name} of the index is not what it was.*again with"):
            approximate_files.check(folder, about, everything=True)
    elif name != "about.json":
        with pytest.warns(UserWarning, match=f"searching without the index: .*{name}.*build it again"):
            assert open_index(copied, model) is None


def test_without_faiss_a_search_says_so_and_goes_on(copied, model, monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.warns(UserWarning, match=r"without the index: .*pip install \"solquery\[index\]\""):
        assert open_index(copied, model) is None
    with pytest.raises(IndexingError, match=r"pip install \"solquery\[index\]\""):
        build_index(copied, model)


def test_a_large_archive_without_index_is_told_of_it(copied, model, monkeypatch):
    shutil.rmtree(copied.path / "index")
    monkeypatch.setattr(approximate, "WORTH_AN_INDEX", 10_000)
    with pytest.warns(UserWarning, match=r"20,000 patches are compared one by one; `solquery index .*` makes it quick"):
        assert open_index(copied, model) is None


# --------------------------------------------------------------------- building


def test_two_builders_at_once(copied, model):
    with (
        approximate_files.being_built(copied.path, "other-1") as folder,
        pytest.raises(IndexingError, match=r"another process is building the index of .*; wait"),
    ):
        build_index(copied, model)
    assert not folder.exists()
    assert open_index(copied, model) is not None


def _killed_while_measuring(what, fraction):
    if what.startswith("measuring"):
        os.kill(os.getpid(), signal.SIGKILL)


def _build(place):
    build_index(Archive.open(place), SimpleNamespace(name="t", encoder_hash=HASH), _killed_while_measuring)


def test_a_builder_that_is_killed_leaves_the_index_before(copied, model):
    process = processes().Process(target=_build, args=(copied.path,))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    left = list((copied.path / "index").glob(".partial-*"))
    assert len(left) == 1
    assert open_index(copied, model) is not None
    assert any(".partial-" in problem.where for problem in verify(copied))
    with approximate_files.being_built(copied.path, "other-1"):
        assert not left[0].exists()


def test_an_index_belongs_to_an_archive(archive):
    assert not [problem for problem in verify(archive) if problem.where.startswith("index")]


def test_few_patches_need_no_index(tmp_path, model):
    archive = Archive.create(tmp_path / "small")
    with pytest.raises(
        SearchError, match=r"have no embeddings; embed and measure it with `solquery archive embed .* --model tiny`"
    ):
        build_index(archive, model)
    archive._patches.add_columns(
        [pa.field("embedding", pa.list_(pa.float32(), LENGTH)), pa.field("embedding_model", pa.string())]
    )
    fill(archive, *clustered(300, 1))
    with pytest.raises(IndexingError, match="has 300 patches with an embedding: fewer than 1000 need no index"):
        build_index(archive, model)


def test_rows_without_embedding_are_counted_and_told(copied, model):
    copied.set_columns(copied.ids()[:7], {"embedding_model": ["older"] * 7})
    about = build_index(copied, model)
    assert (about.rows, about.without) == (ROWS - 7, 7)
    with pytest.warns(UserWarning, match=r"7 of 20,000 patches have no embedding of this encoder"):
        assert open_index(copied, model) is not None


def test_what_an_index_says_of_itself_is_plain(made):
    about, folder = approximate_files.indexes(made.folder)[0]
    assert about == made.about
    assert json.loads((folder / "about.json").read_text())["encoder"] == f"{HASH}_tiny"


def test_an_index_says_what_is_close_as_all_distances_do(made, archive, model):
    session = SearchSession(archive, model)
    assert session._approximate() is not None
    found, index = session.closeness(), session.index()
    exact = closeness_of(index.codes, lambda rows: index.distances(index.vectors[rows]))
    # each from its own sample of 64
    assert found.threshold == pytest.approx(exact.threshold, rel=0.2)
    middle = np.quantile(exact.pairs, [0.1, 0.5, 0.9])
    np.testing.assert_allclose(np.quantile(found.pairs, [0.1, 0.5, 0.9]), middle, rtol=0.1)
    assert quick_closeness(session._approximate()).threshold == found.threshold


def test_the_nearest_other_region_of_an_index_is_that_of_a_loop(made, archive, model, monkeypatch):
    monkeypatch.setattr(closeness, "_SAMPLED", 5)
    quick = SearchSession(archive, model)._approximate()
    rows = np.sort(np.random.default_rng(0).permutation(len(quick))[:5])
    near = []
    for row in rows:
        apart = np.sqrt(((quick.vectors - quick.vectors[row]) ** 2).sum(1))
        near.append(apart[quick.codes != quick.codes[row]].min())
    assert quick_closeness(quick).threshold == pytest.approx(np.quantile(near, 0.95), rel=1e-4)
