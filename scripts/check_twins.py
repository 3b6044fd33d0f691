"""Does a search recognise an observation: the radial twin of a line-of-sight frame, and a neighbour in time.

    python scripts/check_twins.py --model physical --archive held-out --radial SHARPS --line-of-sight SHARPS_LOS \
        --hourly HARP377_LOS [--json]
    python scripts/check_twins.py --archive held-out --simulated 200 --seed 33

Every frame of --radial is put among the simulated patches of --archive. Twins: each frame of --line-of-sight that has a
radial frame of the same region and instant is the query; its rank counts radial patches, one by one. Hours: each of
the frames of --hourly is looked for among all the others and the simulated patches; right is a frame of its region at
most three hours away. The share is given by the embedding alone and as a search does it, which looks again at the
nearest pixel by pixel; for twins also by structure, with its blocks alone and as a search does it, and how often the
first answer is a frame of the right region, which is what a search grouped by region answers with. With --simulated N
the pairs are one frame each of so many simulated regions, which must be others than those of the archive.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from solquery import Archive, Model, simulate
from solquery.study.real_frames import neighbours_in_time, read_frames, twins


def frames(folder: Path) -> list:
    """Frames of a folder that pass the rule of quality."""
    return read_frames(sorted(folder.rglob("*.fits")))[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="physical")
    parser.add_argument("--archive", required=True, help="embedded; its simulated patches count")
    parser.add_argument("--radial", type=Path)
    parser.add_argument("--line-of-sight", type=Path)
    parser.add_argument("--hourly", type=Path)
    parser.add_argument("--simulated", type=int, metavar="N")
    parser.add_argument("--seed", type=int, default=33)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    if not asked.simulated and not (asked.radial and asked.line_of_sight):
        parser.error("give --radial and --line-of-sight, or --simulated")
    archive, model = Archive.open(asked.archive), Model.load(asked.model)
    if asked.simulated:
        kinds = ("radial", "line-of-sight")
        both = list(simulate(asked.simulated, 20, asked.seed, keep=1, quantity=kinds))
    else:
        both = [*frames(asked.radial), *frames(asked.line_of_sight)]
    radial = [p for p in both if p.quantity == "radial"]
    found = {"twins": twins(archive, model, [p for p in both if p.quantity == "line-of-sight"], radial)}
    if asked.hourly:
        found["hours"] = neighbours_in_time(archive, model, frames(asked.hourly))
    if asked.json:
        print(json.dumps(found, indent=1))
        return
    for name, one in found.items():
        print(f"{name}: {one['of']} frames among {one['among']}; right at rank 1:")
        print(_shares(one))
    print(f"twins: {found['twins']['of']} frames; of the right region at rank 1:")
    print(_shares(found["twins"]["region"]))


def _shares(found: dict) -> str:
    ways = {
        "embedding": "by the embedding alone",
        "search": "as a search does it",
        "signature": "by blocks of structure",
        "structure": "by structure",
    }
    told = []
    for name, words in ways.items():
        if name in found:
            share = found[name] if isinstance(found[name], float) else found[name]["share"]
            told.append(f"{share:.1%} {words}")
    return "  " + ", ".join(told)


if __name__ == "__main__":
    main()
