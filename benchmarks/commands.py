"""Whole commands as a user types them, against starting torch: the ratio of a process to `python -c "import torch"`.

    python benchmarks/commands.py                       # generate, search among 50,000 patches, params, info
    python benchmarks/commands.py --rows 1000000        # search among a million (2 GB of disk)
    python benchmarks/commands.py --profile             # and where the rest of each goes
    python benchmarks/commands.py --session             # searches one after the other in one process

All commands are started in turn, `--repeat` times, and each ratio is that of two neighbours, so that what else the
machine does falls on both. Printed is the median and the range, of processor seconds (all threads) and of wall seconds.
The archive is written as tables (`synthetic_archives.py`), kept in `--keep` if one is named.
"""

from __future__ import annotations

import argparse
import cProfile
import os
import pstats
import resource
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import numpy as np

TORCH = [sys.executable, "-c", "import torch"]
SOLQUERY = [sys.executable, "-c", "from solquery.cli import main; main()"]


def commands(archive: Path, out: Path) -> dict[str, list[str]]:
    """What is timed, by its name."""
    from synthetic_archives import query_file

    fits = str(query_file())
    return {
        "generate --set": ["generate", "--set", "tuf=1e22", "--out", str(out / "generated")],
        "search FITS": ["search", fits, "--archive", str(archive)],
        "search --by hybrid": ["search", fits, "--archive", str(archive), "--by", "hybrid"],
        "search --where": ["search", fits, "--archive", str(archive), "--where", "mu > 0.8 AND harpnum < 500"],
        "params FITS": ["params", fits],
        "info": ["info"],
        "info --archive": ["info", "--archive", str(archive)],
    }


def timed(line: list[str]) -> tuple[float, float]:
    """Processor and wall seconds of a process."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(line, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall


def compare(lines: dict[str, list[str]], repeat: int) -> None:
    """Each command in turn with torch, and the ratios."""
    for line in lines.values():  # compiled kernels and the page cache are warm from here on
        timed([*SOLQUERY, *line])
    found: dict[str, list[tuple[float, float, float, float]]] = {name: [] for name in lines}
    for _ in range(repeat):
        for name, line in lines.items():
            torch, ours = timed(TORCH), timed([*SOLQUERY, *line])
            found[name].append((ours[0], ours[0] / torch[0], ours[1], ours[1] / torch[1]))
    print(f"{'':20} {'processor, and times torch':>34} {'wall, and times torch':>34}")
    for name, runs in found.items():
        cpu, times_cpu, wall, times_wall = np.array(runs).T
        shown = [
            f"{np.median(seconds):6.2f} s {np.median(times):6.2f} ({times.min():.2f} to {times.max():.2f})"
            for seconds, times in ((cpu, times_cpu), (wall, times_wall))
        ]
        print(f"{name:20} {shown[0]:>34} {shown[1]:>34}")


def tell_profile(line: list[str]) -> None:
    """Where a command's seconds go: imports by package, then the functions of the package that take longest."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *SOLQUERY[1:], *line], capture_output=True, text=True, check=True
    )
    spent: defaultdict[str, float] = defaultdict(float)
    for text in done.stderr.splitlines():
        if text.startswith("import time:") and "|" in text and "[us]" not in text:
            own, _, module = (part.strip() for part in text.removeprefix("import time:").split("|"))
            spent[module.partition(".")[0]] += int(own) / 1e6
    longest = sorted(spent.items(), key=lambda pair: -pair[1])
    print(f"  imports, {sum(spent.values()):.2f} s in all, as they are timed:")
    print("    " + ", ".join(f"{module} {seconds:.2f}" for module, seconds in longest[:12]))
    code = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); from commands import run; run({line!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    print("  functions, with what they call and import, under the profiler:")
    print(done.stderr.rstrip())


def run(line: list[str]) -> None:
    """Run a command under the profiler, and list the package's functions on stderr."""
    sys.argv = ["solquery", *line]
    profiler = cProfile.Profile()
    profiler.enable()
    from solquery.cli.root import main

    try:
        main()
    except SystemExit as end:
        assert not end.code, end.code
    finally:
        profiler.disable()
    rows = []
    for (file, _, name), (_, _, _, seconds, _) in pstats.Stats(profiler).stats.items():  # type: ignore[attr-defined]
        parts = Path(file).parts
        if "solquery" in parts and "site-packages" not in parts and not name.startswith("<"):
            rows.append((seconds, f"{'/'.join(parts[len(parts) - parts[::-1].index('solquery') :])}: {name}"))
    for seconds, where in sorted(rows, reverse=True)[3:18]:  # the first are the command line itself
        print(f"    {seconds:6.2f} s  {where}", file=sys.stderr)


def session(archive: Path, count: int) -> None:
    """Milliseconds of searches one after the other in one process, each for a query that was not asked before."""
    import torch
    from synthetic_archives import query_file

    from solquery import Archive, Model, SearchSession, prepare
    from solquery.sharp.fits import read_sharp

    torch.set_num_threads(1)
    model = Model.load()
    x = prepare(read_sharp(query_file()), model.preset)
    asks = SearchSession(Archive.open(archive), model)
    spent: dict[str, list[float]] = {"answer": [], "answer, first 20 looked at again": [], "explanation of ten": []}
    for k in range(count + 2):
        query = np.roll(x, (k, 2 * k), (0, 1))
        began = time.perf_counter()
        asks.search(query, rerank=0)
        plain = time.perf_counter()
        other = np.roll(query, 1, 1)
        again = time.perf_counter()
        matches = asks.search(other)
        looked = time.perf_counter()
        asks.explain(other, matches)
        done = time.perf_counter()
        if k >= 2:  # the index is read, the kernels are loaded
            for name, seconds in zip(spent, (plain - began, looked - again, done - looked), strict=True):
                spent[name].append(1e3 * seconds)
    for name, values in spent.items():
        print(f"{name:34} {np.median(values):7.1f} ms (90 %: {np.percentile(values, 90):.1f} ms)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--only", nargs="*", help="names of commands")
    parser.add_argument("--profile", action="store_true", help="print where the seconds of each command go")
    parser.add_argument("--session", action="store_true", help="time searches in one process instead")
    parser.add_argument("--keep", type=Path, help="folder in which the archive is, or is made and stays")
    asked = parser.parse_args()
    sys.path.insert(0, str(Path(__file__).parent))
    from synthetic_archives import synthesise

    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory() as folder:
        archive = (asked.keep or Path(folder)) / f"archive-{asked.rows}"
        if not archive.exists():
            synthesise(archive, asked.rows)
        if asked.session:
            session(archive, 20)
            return
        lines = commands(archive, Path(folder))
        lines = {name: line for name, line in lines.items() if not asked.only or name in asked.only}
        print(f"{asked.rows:,} patches, {asked.repeat} runs of each")
        compare(lines, asked.repeat)
        for name, line in lines.items() if asked.profile else ():
            print(f"\n{name}:")
            tell_profile(line)


if __name__ == "__main__":
    main()
