"""How long imports take, each in an interpreter of its own, and against starting an empty one.

python benchmarks/imports.py --repeat 5
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time

CASES = {
    "nothing": "pass",
    "import solquery": "import solquery",
    "the command line, --help": "import solquery.cli",
    "core: Patch, presets, parameters": "import solquery; solquery.Patch, solquery.get_preset, solquery.measure",
    "core and Model": "import solquery; solquery.Model, solquery.generate",
    "everything public": "import solquery; [getattr(solquery, name) for name in solquery.__all__]",
    "the networks of retrieval": "import solquery.search",
    "`solquery generate`, to its end": """
import sys, tempfile
from solquery.cli import main
with tempfile.TemporaryDirectory() as out:
    sys.argv = ["solquery", "generate", "--describe", "strong", "--seed", "1", "--out", out]
    try:
        main()
    except SystemExit as end:
        assert not end.code
""",
    "for comparison: torch": "import torch",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeat", type=int, default=5, help="runs of each; the fastest counts")
    options = parser.parse_args()
    best: dict[str, float] = {}
    for _ in range(options.repeat):
        # in turn, so that what else the machine does falls on all of them
        for name, code in CASES.items():
            began = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
            best[name] = min(best.get(name, float("inf")), time.perf_counter() - began)
    torch = best["for comparison: torch"] - best["nothing"]
    for name, seconds in best.items():
        own = seconds - best["nothing"]
        print(f"{name:36} {own:6.2f} s more than nothing {own / torch:6.2f} × torch")


if __name__ == "__main__":
    main()
