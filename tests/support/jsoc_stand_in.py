"""A stand-in for JSOC on loopback, as the `drms` client and a browser's download see it, with faults on demand.

It answers `jsoc_info` (series_struct, rs_list), `jsoc_fetch` (exp_request and exp_status for url_quick/as-is and
url/fits), `checkAddress.sh` and file addresses, in the words and shapes of the real ones. Record sets are parsed, not
recognised: lists of HARPs, times, ranges with spans and steps, several record sets in one request, segments, and the
two conditions on NOAA numbers that the package uses.
"""

from __future__ import annotations

import json
import random
import re
import threading
import time
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from jsoc_frames import SERIES, Frame, as_t_rec, as_time

EMAIL = "someone@example.org"


@dataclass
class Faults:
    """What goes wrong, how often (0 to 1); drawn from one seeded generator."""

    slow: float = 0.0
    refuse: float = 0.0
    error_500: float = 0.0
    html: float = 0.0
    truncate: float = 0.0
    short: float = 0.0  # cut off, with the length of what is left: only the file itself can tell
    change: float = 0.0
    vanish: float = 0.0
    slow_s: float = 0.05

    def draw(self, dice: random.Random) -> str:
        at = dice.random()
        for name in ("slow", "refuse", "error_500", "html", "truncate", "short", "change", "vanish"):
            at -= getattr(self, name)
            if at < 0:
                return name
        return ""


class StandIn:
    """The server. `frames` may be changed while it runs, and so may every switch.

    Attributes
    ----------
    file_faults, answer_faults
        For file addresses, and for the answers in JSON.
    largest_lot, largest_query
        More records than that are too large.
    polls
        How often an export (method url) is pending before it is ready.
    expire_after
        Files that an export hands out before it expires; None for never.
    lost
        Keys of frames whose file JSOC does not have.
    broken
        Keys of frames whose file is always damaged, and how: bytes to bytes.
    down
        Nothing is answered any more.
    """

    def __init__(self, frames: list[Frame], seed: int = 0) -> None:
        self.frames = frames
        self.dice = random.Random(seed)
        self.file_faults, self.answer_faults = Faults(), Faults()
        self.largest_lot: int | None = None
        self.largest_query: int | None = None
        self.polls = 0
        self.expire_after: int | None = None
        self.pending_limit = False
        self.lost: set[tuple] = set()
        self.broken: dict[tuple, object] = {}
        self.down = False
        self.log: list[str] = []
        self.served: Counter = Counter()  # whole, unchanged files
        self.faulted: Counter = Counter()
        self.exports: dict[str, dict] = {}
        self.most_at_once = 0
        self._at_once = 0
        self._lock = threading.Lock()
        handler = type("Handler", (_Handler,), {"stand_in": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/"

    def __enter__(self) -> StandIn:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def count(self, kind: str) -> int:
        """How many requests of a kind came."""
        return sum(entry == kind for entry in self.log)

    # ------------------------------------------------------------ record sets

    def select(self, record_sets: str) -> list[Frame]:
        """The frames of one or more record sets, each once, as the database orders them."""
        found: dict[tuple, Frame] = {}
        parts = re.split(r",(?=hmi\.)", record_sets)
        for part in parts:
            match = re.fullmatch(r"\s*([\w.]+)((?:\[(?!\?)[^\]]*\])*)((?:\[\?.*?\?\])*)\s*(?:\{([\w, ]*)\})?\s*", part)
            if match is None or match[1] != SERIES:
                raise ValueError(f"SQL error or unknown series in {part!r}")
            keys = [*re.findall(r"\[([^\]]*)\]", match[2]), "", ""]
            condition = re.findall(r"\[\?(.*?)\?\]", match[3])
            segments = [s.strip() for s in match[4].split(",")] if match[4] else None
            harps = {int(h) for h in keys[0].split(",")} if keys[0].strip() else None
            for candidate in self.frames:
                if harps is not None and candidate.harp not in harps:
                    continue
                if keys[1].strip() and not any(_in_time(candidate.moment, t) for t in keys[1].split(",")):
                    continue
                if not all(_meets(candidate, c) for c in condition):
                    continue
                if segments is None or candidate.segment in segments:
                    found[candidate.key] = candidate
        return [found[key] for key in sorted(found)]

    # ---------------------------------------------------------------- answers

    def answer(self, path: str, query: dict[str, str]) -> dict | None:
        """The JSON of a CGI, or None where there is none."""
        operation = query.get("op", "")
        if path == "/cgi-bin/ajax/checkAddress.sh":
            self.log.append("address")
            good = query.get("address", "").replace("%40", "@") == EMAIL
            return {"status": 2, "msg": "valid"} if good else {"status": 4, "msg": "Email address is not registered"}
        if path == "/cgi-bin/ajax/jsoc_info" and operation == "series_struct":
            self.log.append("struct")
            return _structure()
        if path == "/cgi-bin/ajax/jsoc_info" and operation == "rs_list":
            self.log.append("query")
            return self._list(query)
        if path == "/cgi-bin/ajax/jsoc_fetch" and operation == "exp_request":
            self.log.append("export")
            return self._export(query)
        if path == "/cgi-bin/ajax/jsoc_fetch" and operation == "exp_status":
            self.log.append("status")
            return self._status(query.get("requestid", ""))
        return None

    def _list(self, query: dict[str, str]) -> dict:
        try:
            frames = self.select(query["ds"])
        except ValueError as error:
            return {"status": 1, "error": str(error)}
        if self.largest_query is not None and len(frames) > self.largest_query:
            return {"status": 1, "error": f"Too many records: {len(frames)}"}
        found: dict = {"status": 0, "count": len(frames), "runtime": 0.01}
        if frames:
            names = query.get("key", "").split(",")
            found["keywords"] = [
                {"name": name, "values": [f.keywords.get(name, "Invalid KeyLink") for f in frames]} for name in names
            ]
        return found

    def _export(self, query: dict[str, str]) -> dict:
        if query.get("notify") != EMAIL:
            return {"status": 4, "error": "Email address is not registered"}
        try:
            frames = self.select(query["ds"])
        except ValueError as error:
            return {"status": 4, "error": str(error)}
        if not frames:
            return {"status": 4, "error": "No records found"}
        if self.largest_lot is not None and len(frames) > self.largest_lot:
            return {"status": 3, "error": "Request exceeds max byte limit of 100000000000 B"}
        if query["method"] == "url_quick" and query["protocol"] == "as-is":
            rows = [{"record": f.record, "filename": self._place(f)} for f in frames]
            return {
                **{"status": 0, "requestid": "", "method": "url_quick", "protocol": "as-is", "dir": "", "wait": 0},
                **{"rcount": len(frames), "count": len(frames), "size": 1, "data": rows},
            }
        if self.pending_limit:
            self.pending_limit = False
            return {
                "status": 7,
                "error": "User has 1 pending export requests",
            }
        with self._lock:
            number = f"JSOC_20120307_{len(self.exports) + 1:03d}"
            self.exports[number] = {"frames": frames, "polls": self.polls, "given": 0, "expired": False}
        return {
            **{"status": 2, "requestid": number, "method": "url", "protocol": "fits", "wait": 1},
            **{"rcount": len(frames), "size": 1},
        }

    def _status(self, number: str) -> dict:
        export = self.exports.get(number)
        if export is None:
            return {"status": 6, "requestid": number, "error": "requestid not found"}
        if export["expired"]:
            return {"status": 5, "requestid": number, "error": "The export request has expired"}
        if export["polls"] > 0:
            export["polls"] -= 1
            return {"status": 1, "requestid": number, "method": "url", "protocol": "fits", "wait": 1}
        rows = []
        for f in export["frames"]:
            stamp = as_t_rec(f.moment).replace(".", "").replace(":", "")
            name = "NoDataFile" if f.key in self.lost else f"{SERIES}.{f.harp}.{stamp}.{f.segment}.fits"
            rows.append({"record": f.record.partition("{")[0], "filename": name})
        return {
            **{"status": 0, "requestid": number, "method": "url", "protocol": "fits", "count": len(rows), "size": 1},
            **{"dir": f"/SUM9/{number}/S00000", "data": rows},
        }

    def _place(self, f: Frame) -> str:
        if f.key in self.lost:
            return "NoDataFile"
        return f"/SUM7/D{self.frames.index(f):06d}/S00000/{f.segment}.fits"

    def find(self, path: str) -> tuple[Frame, bytes] | None:
        """Frame and file behind a file address."""
        quick = re.fullmatch(r"/SUM7/D(\d+)/S00000/(\w+)\.fits", path)
        if quick:
            f = self.frames[int(quick[1])]
            return f, f.file("as-is")
        made = re.fullmatch(r"/SUM9/(\w+)/S00000/hmi\.\w+\.(\d+)\.(\d{8})_(\d{6})_TAI\.(\w+)\.fits", path)
        if not made or made[1] not in self.exports:
            return None
        export = self.exports[made[1]]
        if self.expire_after is not None and export["given"] >= self.expire_after:
            export["expired"] = True
        if export["expired"]:
            return None
        moment = datetime.strptime(made[3] + made[4], "%Y%m%d%H%M%S")
        f = next(f for f in export["frames"] if f.key == (int(made[2]), as_t_rec(moment), made[5]))
        export["given"] += 1
        return f, f.file("fits")


def _in_time(moment: datetime, text: str) -> bool:
    text, _, step = text.partition("@")
    if "/" in text:
        first, _, span = text.partition("/")
        start = as_time(first)
        inside = start <= moment < start + _span(span)
    elif "-" in text:
        first, _, last = text.partition("-")
        start = as_time(first)
        inside = start <= moment <= as_time(last)
    else:
        return moment == as_time(text)
    return inside and (not step or (moment - start) % _span(step) == timedelta(0))


def _span(text: str) -> timedelta:
    number, unit = float(text[:-1]), text[-1]
    return timedelta(seconds=number * {"s": 1, "m": 60, "h": 3600, "d": 86400}[unit])


def _meets(f: Frame, condition: str) -> bool:
    for part in condition.split(" OR "):
        if found := re.fullmatch(r"\s*NOAA_ARS ~ '(\d+)'\s*", part):
            if found[1] in f.keywords["NOAA_ARS"]:
                return True
        elif re.fullmatch(r"\s*NOAA_AR > 0\s*", part):
            if f.keywords["NOAA_AR"].isdigit() and int(f.keywords["NOAA_AR"]) > 0:
                return True
        else:
            raise ValueError(f"SQL error in {part!r}")
    return False


def _structure() -> dict:
    def keyword(name: str, kind: str) -> dict:
        return {"name": name, "type": kind, "recscope": "variable", "defval": "", "units": "", "note": ""}

    return {
        **{"note": "CEA remapped SHARPs", "retention": 60, "unitsize": 1, "archive": 1, "tapegroup": 1},
        "primekeys": ["HARPNUM", "T_REC"],
        "dbindex": ["HARPNUM", "T_REC"],
        "keywords": [keyword("HARPNUM", "int"), keyword("T_REC", "time"), keyword("QUALITY", "int")],
        "links": [],
        "segments": [
            {"name": name, "type": "int", "units": "Mx/cm^2", "protocol": "fits", "dims": "VARxVAR", "note": name}
            for name in ("Br", "magnetogram")
        ],
        **{"status": 0, "runtime": 0.01},
    }


class _Handler(BaseHTTPRequestHandler):
    stand_in: StandIn
    _inside = 0

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        room = self.stand_in
        self._enter(room, 1)
        try:
            self._answer(room)
        except (BrokenPipeError, ConnectionResetError):
            pass  # the client was killed
        finally:
            self._enter(room, 0)

    def _enter(self, room: StandIn, inside: int) -> None:
        """Count the requests that are being answered; one is over before its last bytes go out."""
        with room._lock:
            room._at_once += inside - self._inside
            self._inside = inside
            room.most_at_once = max(room.most_at_once, room._at_once)

    def send_error(self, *arguments: object, **more: object) -> None:
        self._enter(self.stand_in, 0)
        super().send_error(*arguments, **more)

    def _answer(self, room: StandIn) -> None:
        if room.down:
            self.close_connection = True
            self.connection.close()
            return
        if len(self.path) > 8190:
            self.send_error(414)
            return
        parts = urlsplit(self.path)
        if parts.path.startswith("/cgi-bin/"):
            fault = room.answer_faults.draw(room.dice)
            room.faulted[fault] += 1
            document = room.answer(parts.path, {k: v[0] for k, v in parse_qs(parts.query).items()})
            if document is None:
                self.send_error(404)
            else:
                self._send(json.dumps(document).encode(), "application/json", fault, room.answer_faults)
            return
        room.log.append("file")
        found = room.find(parts.path)
        if found is None:
            self.send_error(404)
            return
        f, content = found
        if f.key in room.broken:
            self._send(room.broken[f.key](content), "image/fits", "", room.file_faults)
            return
        fault = room.file_faults.draw(room.dice)
        room.faulted[fault] += 1
        if fault == "html":
            fault, content = "", b"<html><body>Service temporarily unavailable</body></html>"
        elif fault == "short":
            content = content[: room.dice.randrange(1, len(content))]
        elif fault == "change":
            at = room.dice.randrange(len(content) - 8)
            content = content[:at] + bytes(b ^ 0x5A for b in content[at : at + 8]) + content[at + 8 :]
        elif fault in ("", "slow"):
            room.served[f.key] += 1
        self._send(content, "image/fits", fault, room.file_faults)

    def _send(self, content: bytes, kind: str, fault: str, faults: Faults) -> None:
        if fault == "refuse":
            self.connection.close()
            self.close_connection = True
            return
        if fault == "error_500":
            self.send_error(self.stand_in.dice.choice((500, 502, 503)))
            return
        if fault == "html":
            kind, content = "text/html", b"<html>proxy error</html>"
        self.send_response(200)
        self.send_header("Content-Type", kind)
        if fault != "vanish":
            self.send_header("Content-Length", str(len(content)))
        else:
            # promises more than comes, and breaks the connection
            self.send_header("Content-Length", str(2 * len(content)))
        self.end_headers()
        if fault == "truncate":
            content = content[: len(content) // 2]
        if fault == "slow":
            middle = len(content) // 2
            self.wfile.write(content[:middle])
            self.wfile.flush()
            time.sleep(faults.slow_s)
            content = content[middle:]
        self._enter(self.stand_in, 0)
        self.wfile.write(content)
        if fault in ("truncate", "vanish"):
            self.close_connection = True
