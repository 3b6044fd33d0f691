"""Tables, times, names of files and the quality of frames, as people and programs write them."""

import numpy as np
import pytest
from command_line import document
from known_patch import field, header, write

from solquery.archive import Archive
from solquery.archive.labels import read_labels
from solquery.cli.inputs import fits_files
from solquery.errors import SolqueryError
from solquery.patch import observation_time
from solquery.sharp import UnreadableFits, read_sharp

# ----------------------------------------------------------------------- labels


@pytest.mark.parametrize(
    "content",
    [
        b"id,label\na,1\nb,0\n",
        b"\xef\xbb\xbfid,label\r\na,1\r\nb,0\r\n",
        b"label,id\n1.0,a\n0.0,b\n",
        b"comment,label,notes,id\nx,true,y,a\nx,False,y,b\n",
        b"id;label\na;1,0\nb;0,0\n",
        b"ID\tLabel\na\tyes\nb\tno\n",
        b"a,1\nb,0\n",
        "id,label\na,1\nb,0\n".encode("utf-16"),
        b"# from a spreadsheet\nid,label\n\n a , 1 \nb,0\nb,0\n",
        "id,label,remark\na,1,\xb0\nb,0,\xe9\n".encode("cp1252"),
        b"id,flare\na,1\nb,0\n",
    ],
)
def test_labels_are_read_by_column_whatever_wrote_them(tmp_path, content):
    (tmp_path / "t.csv").write_bytes(content)
    assert read_labels(tmp_path / "t.csv") == {"a": 1, "b": 0}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "holds no labels"),
        (b"id,label\n", "holds no labels"),
        (b"id,label\na,2\n", "row 2.*0 or 1"),
        (b"id,label\na,nan\n", "row 2"),
        (b"id,label\na\n", "row 2"),
        (b"id,label\na,1\na,0\n", "labelled 0 and 1"),
        (b"x,y2,z\n1,2,3\n", "no head"),
        (b"id,first,second\na,1,0\n", "no column 'label'"),
        (b"id,label\n\0,1\n", "zero bytes"),
    ],
)
def test_what_is_no_table_of_labels_is_refused(tmp_path, content, said):
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(SolqueryError, match=said):
        read_labels(tmp_path / "t.csv")
    with pytest.raises(SolqueryError, match="cannot be read"):
        read_labels(tmp_path / "nothing.csv")


# ------------------------------------------------------------------------ times


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2011-02-15T02:00:00+01:00", "2011-02-15T01:00:00+00:00"),
        ("2011-02-15T02:00:00-0530", "2011-02-15T07:30:00+00:00"),
        ("2011-02-15T02:00:00_TAI", "2011-02-15T01:59:26+00:00"),
        ("2011-02-15T02:00:00_TT", "2011-02-15T01:58:53.816000+00:00"),
        ("2011-02-15T02:00:00_GPS", "2011-02-15T01:59:45+00:00"),
        ("2011-02-15 02:00:00 UTC", "2011-02-15T02:00:00+00:00"),
        ("2011-02-15", "2011-02-15T00:00:00+00:00"),
    ],
)
def test_offsets_and_time_scales_are_honoured(text, utc):
    assert observation_time(text).isoformat() == utc


@pytest.mark.parametrize("text", ["15/02/11", "2011-02-15T02:00:00+01:00_TAI", "yesterday", "2011-02-30T00:00:00"])
def test_what_is_no_time_stays_none(text):
    assert observation_time(text) is None


@pytest.mark.parametrize(("scale", "seconds"), [("UTC", 0.0), ("TAI", -34.0), ("TT", -66.184)])
def test_timesys_says_which_time_date_obs_is(tmp_path, scale, seconds):
    cards = {"HARPNUM": None, "T_REC": None, "TIMESYS": scale, "DATE-OBS": "2011-02-15T02:00:00"}
    patch = read_sharp(write(tmp_path / "a.fits", field(), header(**cards)))
    assert (patch.time - observation_time("2011-02-15T02:00:00")).total_seconds() == pytest.approx(seconds)


def test_an_unreadable_date_is_null_with_a_warning(tmp_path):
    patch = read_sharp(write(tmp_path / "a.fits", field(), header(T_REC="15/02/11")))
    archive = Archive.create(tmp_path / "a")
    with pytest.warns(UserWarning, match="'15/02/11' is no time; t_utc is null"):
        archive.add([patch])
    assert archive.table(["t_utc"])["t_utc"].to_pylist() == [None]


# ----------------------------------------------------------------------- quality


@pytest.mark.parametrize("quality", ["MISSING", "missing", " Missing "])
def test_a_missing_quality_is_a_bad_one(tmp_path, quality):
    path = write(tmp_path / "a.fits", field(), header(QUALITY=quality))
    with pytest.raises(UnreadableFits, match="QUALITY is MISSING"):
        read_sharp(path)
    assert read_sharp(path, strict_quality=False).quality < 0


# ------------------------------------------------------------------------- files


def test_every_name_of_a_fits_file_is_seen_and_no_unfinished_one(tmp_path):
    good = ["a.fits", "b.FITS", "c.fts", "d.fit", "e.fits.gz", "f.Fits.GZ", "deep/g.FTS"]
    bad = ["h.fits.part", "i.fits.tmp", "j.txt", "k.fits~", "fits", "l.fitsx", "m.part"]
    for name in good + bad:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    assert [str(path.relative_to(tmp_path)) for path in fits_files([tmp_path])] == sorted(good)


def test_one_absurd_file_never_ends_the_run_of_a_folder(tmp_path):
    write(tmp_path / "a.fits", field(), header(CDELT1=1e-7, CDELT2=1e-7))
    write(tmp_path / "b.fits", field(), header(CRVAL2=1e9))
    write(tmp_path / "c.fits", field(), header(BUNIT="furlong"))
    write(tmp_path / "d.fits", np.full((30, 30), 5e4, np.float32), header(BUNIT="T"))
    (tmp_path / "e.fits").write_bytes(b"SIMPLE  =                    T" + bytes(5000))
    write(tmp_path / "z.fits", field())
    done = document("ingest", tmp_path, "--archive", tmp_path / "archive")
    assert done["added"] == 1 and len(done["refused"]) == 5
    assert {entry["file"].rpartition("/")[2] for entry in done["refused"]} == {f"{k}.fits" for k in "abcde"}
    found = document("params", tmp_path)
    assert len(found["patches"]) == 1 and len(found["refused"]) == 5
