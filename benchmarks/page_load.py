"""Clients that drag sliders without a pause: how long a patch takes, what fails, whether memory stays.

    python benchmarks/page_load.py --seconds 60 --clients 20 [--archive DIR]

Starts `solquery app` on a free port of this machine, lets every client drag one slider after the other from its own
patch (direct edits, packed, the next as soon as the last has come) and search after each drag, as the page does, and
prints percentiles of the direct edits, the ratio of the 95th percentile to that of one client alone, failures, and the
server's memory at the start, in quarters, and at the end.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

STEPS = 30


def rss_mb(pid: int) -> float:
    """Resident memory of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return float("nan")


class Client:
    """One browser: one connection, one slider at a time."""

    def __init__(self, netloc: str, number: int, archive: bool) -> None:
        self.netloc, self.name, self.archive = netloc, f"client{number}", archive
        self.dice = random.Random(number)
        self.edits: list[float] = []
        self.searches: list[float] = []
        self.failed: list[str] = []
        self.link = http.client.HTTPConnection(netloc, timeout=60)

    def ask(self, method: str, path: str, body: dict | None = None) -> tuple[bytes, float]:
        began = time.monotonic()
        headers = {"content-type": "application/json"}
        self.link.request(method, path, None if body is None else json.dumps(body), headers)
        answer = self.link.getresponse()
        data = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{answer.status} {data[:200]!r}")
        return data, time.monotonic() - began

    def drag(self, until: float) -> None:
        """Take hold of one slider after the other until it is time to stop."""
        try:
            known = json.loads(self.ask("GET", "/api/parameters")[0])["parameters"]
            made = json.loads(self.ask("POST", "/api/generate", {"seed": self.dice.randrange(10**6)})[0])
        except (OSError, RuntimeError, http.client.HTTPException) as error:
            self.failed.append(repr(error))
            return
        z, got = made["answers"][0]["z"], made["answers"][0]["measured"]
        names = [name for name, about in known.items() if not about["binary"] and got[name]["value"] is not None]
        while time.monotonic() < until:
            name = self.dice.choice(names)
            low, high = known[name]["reach"]
            here, there = got[name]["value"], self.dice.uniform(low, high)
            for k in range(1, STEPS + 1):
                if time.monotonic() >= until:
                    return
                value = min(max(here + (there - here) * k / STEPS, low), high)
                body = {"z": z, "set": {name: value}, "exact": False, "client": self.name}
                self.count(self.edits, "/api/edit?format=packed", body)
            if self.archive:
                self.count(self.searches, "/api/search", {"z": z, "client": self.name})

    def count(self, into: list[float], path: str, body: dict) -> None:
        try:
            into.append(self.ask("POST", path, body)[1])
        except (OSError, RuntimeError, http.client.HTTPException) as error:
            self.failed.append(repr(error))
            self.link.close()


def percentile(values: list[float], share: float) -> float:
    """In milliseconds."""
    ordered = sorted(values)
    return 1e3 * ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


def together(netloc: str, n: int, seconds: float, archive: bool) -> list[Client]:
    """n clients at once."""
    clients = [Client(netloc, k, archive) for k in range(n)]
    until = time.monotonic() + seconds
    threads = [threading.Thread(target=client.drag, args=(until,)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return clients


def cpu_seconds(pid: int) -> float:
    """Seconds of processor that a process has used, of the system's work for it too."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def served(archive: str | None) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`solquery app` on a free port of this machine: the process, and host and port once it is ready."""
    line = [sys.executable, "-c", "from solquery.cli import main; main()", "app", "--port", "0"]
    line += ["--archive", archive] if archive else []
    server = subprocess.Popen(line, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        netloc = urlsplit(server.stdout.readline().strip()).netloc
        if not netloc:
            raise SystemExit("the server did not start")
        yield server, netloc
    finally:
        server.terminate()
        server.wait(20)


class Load(NamedTuple):
    """What clients saw, and what it cost the server."""

    alone: list[Client]
    clients: list[Client]
    memory: list[float]
    cpu: float

    @property
    def edits(self) -> list[float]:
        """Seconds of each edit of the many."""
        return [value for client in self.clients for value in client.edits]


def load(server: subprocess.Popen[str], netloc: str, clients: int, seconds: float, archive: bool) -> Load:
    """One client alone for a while, then many."""
    alone = together(netloc, 1, min(5.0, seconds / 4), archive)
    # the threads and caches of the server are warm from here on
    together(netloc, clients, min(3.0, seconds / 4), archive)
    many, memory, before = [], [rss_mb(server.pid)], cpu_seconds(server.pid)
    for _ in range(4):
        many += together(netloc, clients, seconds / 4, archive)
        memory.append(rss_mb(server.pid))
    return Load(alone, many, memory, cpu_seconds(server.pid) - before)


def report(found: Load, clients: int, seconds: float) -> int:
    """Print it; the exit code is 1 when anything failed."""
    edits, alone, memory = found.edits, found.alone, found.memory
    searches = [value for client in found.clients for value in client.searches]
    failed = [text for client in found.clients + alone for text in client.failed]
    one, many = percentile(alone[0].edits, 0.95), percentile(edits, 0.95)
    first, half = len(alone[0].edits), percentile(alone[0].edits, 0.5)
    print(f"1 client   {first:6d} edits: median {half:.0f} ms, 95 % {one:.0f} ms")
    print(
        f"{clients} clients {len(edits):6d} edits: median {percentile(edits, 0.5):.0f} ms, 95 % {many:.0f} ms, "
        f"99 % {percentile(edits, 0.99):.0f} ms, {len(edits) / seconds:.0f} a second"
    )
    if searches:
        print(f"           {len(searches):6d} searches: median {percentile(searches, 0.5):.0f} ms")
    print(f"processor of the server {1e3 * found.cpu / max(1, len(edits)):.1f} ms an edit, searches among them")
    print(f"ratio of the 95th percentiles {many / one:.1f}")
    print(f"memory at the start {memory[0]:.0f} MB, at the end {memory[-1]:.0f} MB ({memory[-1] / memory[0] - 1:+.1%})")
    print(f"memory by quarters: {', '.join(f'{mb:.0f}' for mb in memory)} MB")
    print(f"errors {len(failed)} of {len(edits) + len(searches) + len(failed)}{': ' + failed[0] if failed else ''}")
    print(f"95th percentile of an edit {many:.0f} ms (aim: at most 300 ms)")
    if not edits:
        print("no edit was answered; give more --seconds", file=sys.stderr)
    return 1 if failed or not edits else 0


def main() -> int:
    """Run it; exit code 1 when anything failed."""
    parse = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parse.add_argument("--seconds", type=float, default=60)
    parse.add_argument("--clients", type=int, default=20)
    parse.add_argument("--archive")
    given = parse.parse_args()
    with served(given.archive) as (server, netloc):
        found = load(server, netloc, given.clients, given.seconds, bool(given.archive))
    return report(found, given.clients, given.seconds)


if __name__ == "__main__":
    raise SystemExit(main())
