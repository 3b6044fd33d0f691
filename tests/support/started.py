"""Programs that tests start, without the seconds that imports cost: copies of a process that has imported."""

from __future__ import annotations

import multiprocessing
import os
import runpy
import signal
import sys
import tempfile
import time
from multiprocessing.forkserver import ensure_running
from pathlib import Path

# lancedb is not among them: it starts threads, and those do not come along into a copy
IMPORTED = [
    "astropy.io.fits", "lance_namespace", "numba", "pandas", "pyarrow.dataset", "scipy.stats",
    "solquery.generator", "torch.utils.tensorboard", "typer", "trainings",
]  # fmt: skip


def processes():
    """The context whose ``Process`` and ``Pool`` are such copies."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(IMPORTED)  # counts for the first who asks; from then on it runs
    ensure_running()
    return context


def _become(
    script: str | None, words: list[str], files: list[str], folder: str | None, environment: dict[str, str]
) -> None:
    for number, file in zip((1, 2), files, strict=True):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    os.environ.update(environment)
    if folder is not None:
        os.chdir(folder)
    sys.argv = [script or "solquery", *words]
    if script:
        runpy.run_path(script, run_name="__main__")
        return
    from solquery.cli.root import main

    main()


class Started:
    """`solquery`, or a script, with these words in a process of its own; named like what `subprocess.Popen` has."""

    def __init__(
        self, *words: object, script: Path | None = None, cwd: Path | None = None, env: dict[str, str] | None = None
    ):
        self._folder = tempfile.TemporaryDirectory()
        self._files = [str(Path(self._folder.name) / name) for name in ("stdout", "stderr")]
        told = (script and str(script), [str(word) for word in words], self._files, cwd and str(cwd), env or {})
        self._process = processes().Process(target=_become, args=told)
        self._process.start()
        self._said: tuple[str, str] | None = None

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self.returncode

    def send_signal(self, number: int) -> None:
        os.kill(self._process.pid, number)

    def terminate(self) -> None:
        if self.returncode is None:
            self.send_signal(signal.SIGTERM)

    def first_line(self, timeout: float = 60) -> str:
        """What it prints to stdout first; fails where it ends without, or says nothing for so long."""
        limit = time.monotonic() + timeout
        while "\n" not in (said := self._read(0)):
            assert self.returncode is None and time.monotonic() < limit, self._read(1)
            time.sleep(0.02)
        return said.split("\n")[0]

    def communicate(self, timeout: float = 120) -> tuple[str, str]:
        """Wait for its end; all that it printed to stdout and to stderr."""
        self._process.join(timeout)
        if self.returncode is None:
            self._process.kill()
            raise TimeoutError(f"`solquery` did not end within {timeout} s: {self._read(1)}")
        if self._said is None:
            self._said = self._read(0), self._read(1)
            self._folder.cleanup()
        return self._said

    def _read(self, which: int) -> str:
        file = Path(self._files[which])
        return file.read_text() if file.exists() else ""
