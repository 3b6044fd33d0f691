"""How fast the page draws the encoder's space of a large archive, and answers a pointer that moves over it.

    python benchmarks/page_space.py --address http://127.0.0.1:8377/ [--patches 50000] [--moves 200]

Opens the page of a running `solquery app` with an archive in Chromium (playwright; CHROMIUM names another), puts
`--patches` made-up places in the stead of the archive's, and prints how long the first drawing takes, from the answer
to the dots, and the median and the 95th percentile of what one move of the pointer costs: the dot under it is found,
named and ringed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil

import numpy as np

#: opens the plot, then moves over it along a spiral; milliseconds
TIMED = """async (moves) => {
  const box = document.getElementById('space-box'), canvas = document.getElementById('space');
  const axes = document.getElementById('space-axes');
  performance.clearResourceTimings();
  box.open = true;
  const seen = { childList: true, characterData: true, subtree: true };
  await new Promise((done) => new MutationObserver(done).observe(axes, seen));
  const came = performance.getEntriesByType('resource').find((entry) => entry.name.includes('/api/space')).responseEnd;
  await new Promise((done) => requestAnimationFrame(done));
  const drawn = performance.now() - came, frame = canvas.getBoundingClientRect(), spent = [];
  for (let k = 0; k < moves; k++) {
    const share = 0.35 * k / moves, angle = k / 3;
    const clientX = frame.left + frame.width * (0.55 + share * Math.cos(angle));
    const clientY = frame.top + frame.height * (0.45 + share * Math.sin(angle));
    const began = performance.now();
    canvas.dispatchEvent(new PointerEvent('pointermove', { clientX, clientY, bubbles: true }));
    spent.push(performance.now() - began);
    await new Promise((done) => setTimeout(done));
  }
  return { drawn, spent };
}"""


def answer(patches: int) -> str:
    """The answer of `/api/space` of so many patches."""
    rng = np.random.default_rng(0)
    document = {
        "content": "made up",
        "ids": [f"patch-{k}" for k in range(patches)],
        "regions": [f"region {k // 20}" for k in range(patches)],
        "real": (rng.random(patches) < 0.1).tolist(),
        "points": np.round(rng.normal(size=(patches, 2)), 4).tolist(),
        "values": [float(f"{v:.4g}") for v in rng.lognormal(50, 1, patches)],
        "column": "tuf",
        "explained": 0.5,
        "of": patches,
    }
    return json.dumps(document)


def main() -> int:
    """Measure and print."""
    from playwright.sync_api import sync_playwright

    parse = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parse.add_argument("--address", default="http://127.0.0.1:8377/")
    parse.add_argument("--patches", type=int, default=50_000)
    parse.add_argument("--moves", type=int, default=200)
    given = parse.parse_args()
    body = answer(given.patches)
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1600, "height": 1000})
        page.set_default_timeout(120_000)
        page.route(
            "**/api/space?*", lambda route: route.fulfill(status=200, content_type="application/json", body=body)
        )
        page.goto(given.address)
        page.wait_for_selector("html[data-ready]", state="attached")
        found = page.evaluate(TIMED, given.moves)
        browser.close()
    spent = np.array(found["spent"])
    print(f"{given.patches:,} patches, {len(body) / 2**20:.1f} MB of JSON")
    print(f"from the answer to the dots {found['drawn']:.0f} ms")
    print(f"a move of the pointer: median {np.median(spent):.1f} ms, 95 % {np.percentile(spent, 95):.1f} ms")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
