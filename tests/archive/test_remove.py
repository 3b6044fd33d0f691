"""One patch does not spoil an archive: what has no scale is skipped with a count, and any patch can be removed."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits
from command_line import call, document, failure
from known_patch import field, header, write

from solquery.archive import Archive, ArchiveError
from solquery.archive.prepare import NoScale, prepare
from solquery.archive.verify import verify
from solquery.config import get_preset
from solquery.sharp import read_sharp

PHYSICAL = get_preset("physical")


@pytest.fixture
def archive(tmp_path):
    """Two observations with a scale, and two without; one of those has the very shape of the grid."""
    made = Archive.create(tmp_path / "a")
    bare = fits.Header({"BUNIT": "G"})
    made.add([
        read_sharp(write(tmp_path / "bare.fits", field(), bare)),
        read_sharp(write(tmp_path / "grid.fits", field(PHYSICAL.shape), bare)),
        read_sharp(write(tmp_path / "first.fits", field(), header())),
        read_sharp(write(tmp_path / "second.fits", field(seed=8), header(T_REC="2011.02.15_03:00:00_TAI"))),
    ])  # fmt: skip
    return made


def with_scale(archive):
    return archive.ids("scale_x_mm IS NOT NULL")


def test_patches_without_a_scale_are_left_out_with_a_count(archive):
    assert len(archive.without_scale(PHYSICAL)) == 2 and archive.without_scale("paper") == []
    with pytest.warns(UserWarning, match="2 patches without a scale left out"):
        ids, x = archive.prepared(PHYSICAL)
    assert ids == with_scale(archive) and x.shape == (2, *PHYSICAL.shape)
    with pytest.warns(UserWarning, match="left out"):
        stored = archive.prepared_memmap(PHYSICAL)
    assert stored[0] == ids and len(stored[1]) == 2
    with pytest.warns(UserWarning, match="left out"):
        batches = list(archive.batches(PHYSICAL, 10))
    assert [i for batch in batches for i in batch.ids] == ids
    assert len(archive.prepared("paper")[0]) == 4


def test_the_shape_of_the_grid_is_no_scale(archive):
    bare = next(p for p in archive.patches() if p.scale_mm is None and p.field.shape == tuple(PHYSICAL.shape))
    with pytest.raises(NoScale, match="has no scale"):
        prepare(bare, PHYSICAL)
    assert prepare(replace(bare, scale_mm=(1.0, 1.0)), PHYSICAL).shape == tuple(PHYSICAL.shape)


def test_embedding_and_searching_go_on_beside_them(archive, tmp_path):
    done = document("archive", "embed", archive.uri)
    assert (done["embedded"], done["skipped"], done["already"]) == (2, 2, 0)
    again = document("archive", "embed", archive.uri)
    assert (again["embedded"], again["skipped"], again["already"]) == (0, 2, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        found = document(
            "search", "--archive", archive.uri, tmp_path / "first.fits", "-k", 3, "--group", "none", "--verify", 0
        )
    assert {match["id"] for match in found["matches"]} == set(with_scale(archive))
    assert "--scale" in failure("search", "--archive", archive.uri, tmp_path / "grid.fits")
    np.save(tmp_path / "q.npy", 2000 * field(PHYSICAL.shape))
    assert "--scale" in failure("search", "--archive", archive.uri, tmp_path / "q.npy")
    _, err = call("invert", tmp_path / "grid.fits", "--out", tmp_path / "out", code=1)
    assert "has no scale" in err and "--scale" in err


def test_removed_patches_are_gone_and_come_back_by_version(archive):
    before, first = archive.content_hash(), archive.ids()[0]
    version = archive.info()["version"]
    kept = archive.get(first).field
    assert archive.remove([first]).removed == [first]
    assert first not in archive.ids() and len(archive) == 3 and verify(archive) == []
    with pytest.raises(ArchiveError, match="no patch"):
        archive.get(first)
    assert archive.restore(version) == 4 and archive.content_hash() == before
    np.testing.assert_array_equal(archive.get(first).field, kept)
    assert verify(archive) == []
    with pytest.raises(ArchiveError, match="no version 9999"):
        archive.restore(9999)


def test_remove_takes_ids_or_a_condition_and_never_a_mistake(archive):
    with pytest.raises(ArchiveError, match="either their ids or a condition"):
        archive.remove()
    with pytest.raises(ArchiveError, match="no patch 'nobody'"):
        archive.remove([archive.ids()[0], "nobody"])
    with pytest.raises(ArchiveError, match="blank"):
        archive.remove(where="")
    with pytest.raises(ArchiveError, match="closes nothing"):
        archive.remove(where="mu > 2) OR true")
    assert len(archive) == 4
    assert len(archive.remove(where="scale_x_mm IS NULL").removed) == 2
    assert len(archive) == 2


def test_the_verbs_remove_and_restore(archive):
    ids = archive.ids()
    done = document("archive", "remove", archive.uri, ids[0], ids[1])
    assert done["removed"] == ids[:2] and done["patches"] == 2
    assert "nothing was removed" in failure("archive", "remove", archive.uri, "--where", "mu > 2")
    call("archive", "remove", archive.uri, code=2)
    out, _ = call("archive", "restore", archive.uri, "--version", done["version"])
    assert "4 patches" in out and archive.ids() == ids


def test_a_patch_that_was_removed_can_be_added_again(archive, tmp_path):
    patch = read_sharp(tmp_path / "first.fits")
    archive.remove([patch.id])
    archive.add([replace(patch, field=2 * patch.field)])
    np.testing.assert_allclose(archive.get(patch.id).field, 2 * patch.field, rtol=1e-3)
    assert verify(archive) == []
