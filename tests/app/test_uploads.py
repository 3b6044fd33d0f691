"""Uploads: real files are read; damaged, huge and hostile ones are refused by name, and cost nothing."""

from __future__ import annotations

import gzip
import io
import resource
import subprocess

import numpy as np
import pytest
from astropy.io import fits

from solquery.app import uploads as module
from solquery.app.uploads import Uploads, check_declared, read_upload
from solquery.sharp import UnreadableFits, read_sharp


def plain(field, **keywords):
    buffer = io.BytesIO()
    fits.PrimaryHDU(np.asarray(field, dtype=np.float32), fits.Header(keywords)).writeto(buffer)
    return buffer.getvalue()


def header(**cards):
    """A header that declares whatever is wanted, with nothing behind it."""
    lines = [f"{key:<8}= {value:>20}" for key, value in {"SIMPLE": "T", "BITPIX": -32, **cards}.items()]
    return "".join(f"{line:<80}" for line in [*lines, "END"]).ljust(2880).encode()


FIELD = np.outer(np.hanning(24), np.linspace(-900, 900, 40)).astype(np.float32)


@pytest.mark.parametrize("unbuffered", [False, True])
def test_a_file_is_read_as_read_sharp_reads_it(sample_file, tmp_path, monkeypatch, unbuffered):
    # unbuffered streams, as containers often ask for, are other objects to the process that decodes
    if unbuffered:
        monkeypatch.setenv("PYTHONUNBUFFERED", "1")
    else:
        monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    (tmp_path / "s.fits").write_bytes(sample_file)
    there, here = read_sharp(tmp_path / "s.fits", strict_quality=False), read_upload(sample_file, "s.fits")
    np.testing.assert_array_equal(here.field, there.field)
    for name in ("region", "source", "scale_mm", "t_rec", "harpnum", "noaa", "mu", "latitude_deg", "credit", "quality"):
        assert getattr(here, name) == getattr(there, name), name


def test_a_gzipped_file_and_an_unknown_name_are_read(tmp_path):
    patch = read_upload(gzip.compress(plain(FIELD, BUNIT="G")), "../..\\evil<name>.fits.gz")
    np.testing.assert_array_equal(patch.field, FIELD)
    assert patch.file == "evil_name_.fits.gz"
    assert np.isnan(patch.mu)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"hello", "not a FITS file"),
        (b"PK\x03\x04" + bytes(4000), "not a FITS file"),
        (plain(FIELD)[:4000], "cut short"),
        (gzip.compress(plain(FIELD, BUNIT="G"))[:-40], "cut short"),
        (b"\x1f\x8b" + bytes(100), "cannot be unpacked"),
        (header(NAXIS=2, NAXIS1=1_600_000, NAXIS2=1_600_000), "declares 2.56e+12 pixels"),
        (header(NAXIS=2, NAXIS1=10**19, NAXIS2=2), "more pixels than any file"),
        (header(NAXIS=3, NAXIS1=4096, NAXIS2=4096, NAXIS3=4096), "declares"),
        (header(NAXIS=2, NAXIS1=-5, NAXIS2=5), "negative"),
        (header(NAXIS=5000), "impossible number of axes"),
        (header(NAXIS=1, NAXIS1=10, PCOUNT=10**15), "cut short"),
        (header(NAXIS=0)[:2880].replace(b"END", b"   "), "cut short"),
        (plain(np.full((8, 8), np.nan)), "every pixel is missing"),
        (plain(np.full((8, 8), 1e9)), "no field in gauss"),
        (gzip.compress(bytes(200 * 2**20), 1), "larger than 128 MB"),
    ],
)
def test_what_is_no_magnetogram_is_refused_with_its_name_and_the_reason(data, reason):
    with pytest.raises(UnreadableFits, match=r"a\.fits: ") as caught:
        read_upload(data, "a.fits")
    assert reason in str(caught.value)
    assert "/tmp" not in str(caught.value) and "\n" not in str(caught.value)


def test_a_compressed_image_that_declares_terabytes_is_refused_by_its_header(sample_file):
    assert b"ZNAXIS1 =" in sample_file
    at = sample_file.index(b"ZNAXIS1 =")
    huge = sample_file[:at] + b"ZNAXIS1 =        9999999999999" + sample_file[at + 30 :]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UnreadableFits, match="declares"):
        check_declared(huge)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000, "kilobytes"


def test_a_tile_that_unpacks_to_gigabytes_ends_in_the_child():
    """Gzip inside a compressed image: no header tells how large it becomes."""
    buffer = io.BytesIO()
    image = fits.CompImageHDU(FIELD.astype(np.int16), compression_type="GZIP_1", tile_shape=FIELD.shape)
    fits.HDUList([fits.PrimaryHDU(), image]).writeto(buffer)
    data = buffer.getvalue()
    with fits.open(io.BytesIO(data), disable_image_compression=True) as units:
        old = bytes(units[1].data["COMPRESSED_DATA"][0])
    # members one behind the other unpack to one another's end: four gigabytes
    bomb = 64 * gzip.compress(bytes(64 * 2**20), 9)
    at = data.index(old)
    larger = data[:at] + bomb
    larger = larger.replace(f"PCOUNT  = {len(old):>20}".encode(), f"PCOUNT  = {len(bomb):>20}".encode())
    # the descriptor in front of the heap: length and offset
    larger = larger[: at - 8] + len(bomb).to_bytes(4, "big") + bytes(4) + larger[at:]
    larger += bytes(-len(larger) % 2880)
    with pytest.raises(UnreadableFits, match=r"bomb\.fits: (cannot be|takes too long to) decode"):
        read_upload(larger, "bomb.fits")
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < 2.5 * 2**20, "kilobytes"


@pytest.mark.parametrize(
    ("code", "said", "reason"),
    [
        (-9, "", "within the memory and time allowed"),
        (1, "Traceback\nMemoryError: Unable to allocate 4 GiB", "within the memory and time allowed"),
        (1, "Traceback\nOSError: obtaining file position failed\n", r"\(OSError: obtaining file position failed\)"),
        (3, "", r"\(exit code 3\)"),
    ],
)
def test_a_decoder_that_fails_is_blamed_for_what_it_said(monkeypatch, code, said, reason):
    ended = subprocess.CompletedProcess([], code, b"", said.encode())
    monkeypatch.setattr(module.subprocess, "run", lambda *_, **__: ended)
    with pytest.raises(UnreadableFits, match=rf"^a\.fits: cannot be decoded .*{reason}"):
        read_upload(plain(FIELD, BUNIT="G"), "a.fits")


def test_only_the_newest_uploads_are_remembered():
    uploads = Uploads()
    names = [uploads.keep(read_upload(plain(FIELD, BUNIT="G"), "a.fits"))]
    assert uploads.get(names[0]) is not None and uploads.keep(uploads.get(names[0])) == names[0]
    patch = uploads.get(names[0])
    for k in range(16):
        names.append(uploads.keep(patch.with_field(FIELD + k + 1, None)))
    assert len(uploads) == 16 and uploads.get(names[0]) is None and uploads.get(names[-1]) is not None
