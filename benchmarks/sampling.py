"""Seconds to sample 10,000 patches of the paper's generator, beside the plain layers doing the same.

python benchmarks/sampling.py --threads 2 --patches 10000

`render` is what every verb samples with; `plain` are torch.nn layers in batches of 100. Both take turns in one process;
--patches scales the work down, and the seconds are scaled up to 10,000.
"""

from __future__ import annotations

import argparse
import time

import torch

from solquery.config import get_preset
from solquery.generator import build_generator
from solquery.steering import render


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--patches", type=int, default=10_000)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    from training import PlainGenerator  # the one beside this file

    torch.manual_seed(0)
    preset = get_preset("paper")
    generator = build_generator(preset.generator, preset.shape).eval()
    plain = PlainGenerator().eval()
    plain.load_state_dict(generator.state_dict())
    z = torch.randn(options.patches, 100)

    def by_plain(part: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return torch.cat([plain(few) for few in part.split(100)])

    def by_render(part: torch.Tensor) -> torch.Tensor:
        return render(generator, part, preset.shape)

    spent = {"render": 0.0, "plain": 0.0}
    apart = 0.0
    by_plain(z[:100]), by_render(z[:100])
    for part in z.split(500):
        made = {}
        for name, act in (("render", by_render), ("plain", by_plain)):
            began = time.perf_counter()
            made[name] = act(part)
            spent[name] += time.perf_counter() - began
        apart = max(apart, float((made["render"] - made["plain"]).abs().max()))
    for name, seconds in spent.items():
        print(f"{name:7} {10_000 * seconds / options.patches:6.1f} s for 10,000 patches on {options.threads} thread(s)")
    print(f"render is {spent['plain'] / spent['render']:.2f} times as fast; largest difference {apart:.1e}")


if __name__ == "__main__":
    main()
