"""An archive in an S3 store on loopback: made, fetched into, read, filtered and checked by URI."""

from __future__ import annotations

import subprocess
import sys
import time
import urllib.request
from importlib.util import find_spec

import numpy as np
import pytest

from solquery.archive.prepare import prepare
from solquery.archive.store import Archive
from solquery.archive.verify import verify
from solquery.config import PRESETS
from solquery.errors import SolqueryError
from solquery.jsoc.fetch import fetch

pytestmark = pytest.mark.skipif(
    any(find_spec(name) is None for name in ("moto", "flask", "flask_cors", "boto3")), reason="needs moto's server"
)
SERVE = """
from moto.server import ThreadedMotoServer
import contextlib, sys
server = ThreadedMotoServer("127.0.0.1", 0)
with contextlib.redirect_stdout(sys.stderr):
    server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def s3():
    """Address of a bucket, with the environment that leads Lance to it."""
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", SERVE],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    endpoint = f"http://127.0.0.1:{int(process.stdout.readline())}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "someone")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        patch.setenv("AWS_REGION", "us-east-1")
        patch.setenv("AWS_ENDPOINT", endpoint)
        patch.setenv("AWS_ALLOW_HTTP", "true")
        request = urllib.request.Request(f"{endpoint}/sun", method="PUT")
        for _ in range(50):
            try:
                urllib.request.urlopen(request, timeout=10).close()
                break
            except ConnectionError:
                time.sleep(0.1)
        yield "s3://sun/archive"
    process.communicate()


def test_an_archive_lives_in_an_object_store(s3, tmp_path, client, ask, sun_patches):
    assert not Archive.exists(s3)
    with pytest.raises(SolqueryError, match="--staging"):
        fetch(ask, s3, client())
    report = fetch(ask, s3, client(), staging=tmp_path)
    assert report.fetched == 30 and report.failed == []
    assert fetch(ask, s3, client(), staging=tmp_path).there == 30
    archive = Archive.open(s3)
    assert archive.path is None and archive.ids() == sorted(p.id for p in sun_patches)
    assert archive.ids("harpnum = 1403 AND usflux_mx > 1e22") == [p.id for p in sun_patches if p.harpnum == 1403]
    one = sun_patches[7]
    np.testing.assert_allclose(archive[one.id].field, one.field, rtol=2**-11, atol=1e-6)
    (batch,) = archive.batches("tiny", 50, where="harpnum = 1402", seed=1)
    np.testing.assert_allclose(batch.x[0, 0], prepare(archive[batch.ids[0]].field, PRESETS["tiny"]), atol=1e-6)
    assert verify(archive) == []
    assert archive.info()["bytes"] is None
    archive.optimize()
    assert len(Archive.open(s3)) == 30
