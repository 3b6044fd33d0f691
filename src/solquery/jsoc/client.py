"""JSOC through the `drms` client: keyword queries, exports and their state, and single files, one at a time.

Every failure becomes one of five things a caller can act on: `NotNow` (ask again later), `TooLarge` (ask for less),
`Gone` (the export has expired), `JsocRefusal` (it will never work), or an answer. `drms` gives a server's words; its
own download is not used, since it turns a failed file into None and takes a cut-off one for whole.

The statuses of exports are those of ``jsoc_fetch``: 0 done, 1 and 2 pending, 3 too large, 4 failed, 5 expired, 6 not
known yet, 7 too many pending.
"""

from __future__ import annotations

import hashlib
import os
import random
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar
from urllib.request import Request, urlopen

from ..aliases import Header
from ..errors import SolqueryError
from .connection import Gone, JsocRefusal, TooLarge, agent, says_too_large, server_config, timeout, translated
from .retry import NotNow, RetryPolicy, ServerDown, persist
from .selection import Record, same_time

if TYPE_CHECKING:
    from drms import ExportRequest

__all__ = ["KEYWORDS", "Export", "Jsoc"]

T = TypeVar("T")

#: what a row of the archive is made of; an as-is file carries none of it
KEYWORDS = (
    *("HARPNUM", "T_REC", "T_OBS", "DATE__OBS", "QUALITY", "NOAA_AR", "NOAA_ARS", "NOAA_NUM"),
    *("CTYPE1", "CTYPE2", "CUNIT1", "CUNIT2", "CRPIX1", "CRPIX2", "CRVAL1", "CRVAL2", "CDELT1", "CDELT2"),
    *("CRLN_OBS", "CRLT_OBS", "DSUN_OBS", "RSUN_OBS", "RSUN_REF", "CAR_ROT", "TELESCOP", "INSTRUME"),
    *("USFLUX", "R_VALUE", "AREA_ACR", "CMASK", "LATFWTPO", "LONFWTPO", "LATFWTNE", "LONFWTNE", "LAT_FWT", "LON_FWT"),
)
REGISTER = "http://jsoc.stanford.edu/ajax/register_email.html"
_CHUNK = 1 << 16
_PENDING = (1, 2, 6)


class _Busy(Exception):
    """Too many exports of this user are pending."""


class Export(NamedTuple):
    """State of an export request.

    Attributes
    ----------
    id
        Its number at JSOC; None for one that needs none, since its files are at hand.
    ready
        Whether `files` is filled in.
    files
        (HARP number, T_REC, segment) to the address of the file.
    """

    id: str | None
    ready: bool
    files: dict[tuple[int, str, str], str]


class Jsoc:
    """One polite connection to JSOC, or to a server that speaks like it.

    Parameters
    ----------
    server
        Base address of another DRMS server (``http://127.0.0.1:8000/``); None for JSOC itself.
    email
        Address registered with JSOC; needed for exports only.
    retry_policy
        Pauses, attempts, time-outs.
    seed
        For the jitter of pauses; None takes another one each time.
    say
        Gets a line about every failure that is waited out.

    Raises
    ------
    SolqueryError
        When `drms` is not installed.
    """

    def __init__(
        self,
        server: str | None = None,
        email: str | None = None,
        retry_policy: RetryPolicy | None = None,
        seed: int | None = None,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        try:
            import drms
        except ImportError:
            raise SolqueryError('fetching from JSOC needs drms: pip install "solquery[sun]"') from None
        self._drms = drms
        self.retry_policy = retry_policy or RetryPolicy()
        self.email = email
        self.name = server or "JSOC"
        self._client = drms.Client(server_config(drms, server))
        self._say = say
        self._rng = random.Random(seed)
        self._failed_in_row = 0
        self.requests = 0

    # --------------------------------------------------------------- queries

    def records(self, record_set: str, segment: str) -> list[Header]:
        """Keywords of a record set, all as text, one dict a record.

        Raises
        ------
        TooLarge
            When the question must be halved.
        ServerDown, JsocRefusal
        """

        def ask() -> list[Header]:
            # numbers are read here: QUALITY comes in hexadecimal, and must not become NaN on the way
            found = self._client.query(record_set, key=list(KEYWORDS), convert_numeric=False)
            return found.to_dict("records") if len(found) else []

        return self._essential(ask, f"the keywords of {record_set}")

    def check_email(self) -> None:
        """Make sure that exports may be asked for.

        Raises
        ------
        JsocRefusal
            Without an address, or with one that JSOC does not know.
        """
        if not self.email:
            raise JsocRefusal(
                f"JSOC exports files only to a registered address: register at {REGISTER}, then give it with --email "
                "or in JSOC_EMAIL"
            )
        if not self._essential(lambda: self._client.check_email(self.email), "the e-mail address"):
            raise JsocRefusal(f"JSOC does not know the address {self.email}; register it at {REGISTER}")

    # --------------------------------------------------------------- exports

    def export(self, record_set: str, method: str) -> Export:
        """Ask for files: ``url_quick`` takes them as they lie (no keywords in them), ``url`` has them made anew.

        Raises
        ------
        TooLarge, Gone, ServerDown, JsocRefusal
        """
        as_is = method == "url_quick"

        def ask() -> Export:
            return self._state(
                self._client.export(
                    record_set,
                    method=method,
                    protocol="as-is" if as_is else "fits",
                    filenamefmt=False if as_is else None,
                    email=self.email,
                )
            )

        began = time.monotonic()
        while True:
            try:
                return self._essential(ask, "an export", may_be_large=True)
            except _Busy as error:
                if time.monotonic() - began > self.retry_policy.export_s:
                    raise ServerDown(self._down(str(error))) from None
                self._say(f"an export: {error}; again in {self.retry_policy.poll_most_s:.0f} s")
                time.sleep(self.retry_policy.poll_most_s)

    def export_state(self, export_id: str) -> Export:
        """What has become of an export.

        Raises
        ------
        Gone
            When it has expired, has failed, or was never known.
        ServerDown
        """
        return self._essential(lambda: self._state(self._client.export_from_id(export_id)), f"export {export_id}")

    def wait(self, export: Export, say: Callable[[str], None] = lambda text: None) -> Export:
        """Look at an export, ever more seldom, until its files are ready.

        Raises
        ------
        Gone
            When it expires, fails, or takes longer than `RetryPolicy.export_s`.
        ServerDown
        """
        began, question = time.monotonic(), 0
        while not export.ready:
            waited = time.monotonic() - began
            if waited > self.retry_policy.export_s:
                raise Gone(f"export {export.id} was not ready after {waited:.0f} s")
            say(f"export {export.id} is being made")
            time.sleep(self.retry_policy.poll(question, self._rng))
            question += 1
            export = self.export_state(export.id or "")
        return export

    def _state(self, request: ExportRequest) -> Export:
        if request.status in _PENDING:
            if request.id is None:
                raise NotNow("JSOC made an export pending without giving its number")
            return Export(request.id, False, {})
        if request.status != 0:
            try:
                request.urls  # noqa: B018 - drms raises here with the server's own words
            except self._drms.DrmsExportError as error:
                words = str(error)
            else:
                words = f"export failed [status={request.status}]"
            if request.status == 7:
                raise _Busy(words)
            if request.status == 3 or says_too_large(words):
                raise TooLarge(words)
            raise Gone(words)
        files: dict[tuple[int, str, str], str] = {}
        for row in request.urls.to_dict("records"):
            found = re.search(r"\[(\d+)\]\[([^\]]+)\](?:\{(\w+)\})?", str(row["record"]))
            if not found:
                continue
            # a record without its segment has it in the name of the file
            segment = found[3] or next((part for part in row["filename"].split(".")[-2:-1]), "")
            files[int(found[1]), same_time(found[2]), segment.rpartition("/")[2]] = row["url"]
        return Export(request.id, True, files)

    # ----------------------------------------------------------------- files

    def download(self, url: str, path: Path, record: Record) -> tuple[int, str]:
        """One file to `path`, complete or not at all: its size in bytes and its SHA-256.

        Raises
        ------
        NotNow
            When it cannot be had now; one attempt, the caller repeats.
        Gone
            When the server has no such file.
        """
        partial = path.with_name(path.name + ".part")
        digest, size = hashlib.sha256(), 0
        request = Request(url, headers={"User-Agent": agent()})
        self.requests += 1
        try:
            with (
                translated(self._drms),
                urlopen(request, timeout=self.retry_policy.timeout_s) as answer,
                open(partial, "wb") as out,
            ):
                promised = answer.headers.get("Content-Length")
                while chunk := answer.read(_CHUNK):
                    digest.update(chunk)
                    size += len(chunk)
                    out.write(chunk)
                out.flush()
                os.fsync(out.fileno())
        except NotNow:
            partial.unlink(missing_ok=True)
            self._count_failure()
            raise
        except (Gone, TooLarge, JsocRefusal) as error:
            partial.unlink(missing_ok=True)
            self._failed_in_row = 0
            raise Gone(f"{record.name}: {error}") from None
        if promised is not None and promised.isdigit() and size != int(promised):
            partial.unlink(missing_ok=True)
            self._count_failure()
            raise NotNow(f"the connection ended after {size:,} of {int(promised):,} bytes")
        self._failed_in_row = 0
        os.replace(partial, path)
        return size, digest.hexdigest()

    def pause_after(self, failures: int) -> float:
        """Seconds to wait after the `failures`-th failure of one file."""
        return self.retry_policy.pause(failures, self._rng)

    # -------------------------------------------------------------- failures

    def _count_failure(self) -> None:
        self._failed_in_row += 1
        if self._failed_in_row >= 3 * self.retry_policy.tries:
            raise ServerDown(self._down(f"{self._failed_in_row} requests in a row have failed"))

    def _down(self, why: str) -> str:
        return f"{self.name} does not serve ({why}); what was fetched is safe, run the same command again later"

    def _essential(self, ask: Callable[[], T], what: str, may_be_large: bool = False) -> T:
        """An answer without which a fetch cannot go on, however often it must be asked for."""

        def once() -> T:
            self.requests += 1
            try:
                with translated(self._drms), timeout(self.retry_policy.timeout_s):
                    answer = ask()
            except NotNow:
                self._count_failure()
                raise
            except BaseException:
                self._failed_in_row = 0
                raise
            self._failed_in_row = 0
            return answer

        try:
            return persist(once, self.retry_policy, self._rng, lambda text: self._say(f"{what}: {text}"))
        except NotNow as error:
            # JSOC answers 500 to some questions that are too large
            if may_be_large and not error.unreachable:
                raise TooLarge(str(error)) from None
            raise ServerDown(self._down(f"{what}: {error}")) from None
