"""Photograph the page that `solquery app` serves, as a user sees it, for docs/pictures.

    make test-browser                              # installs playwright; a chromium must be there
    python scripts/make_app_picture.py --archive demo/archive

CHROMIUM names the browser, as for the tests.
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

WORDS = "strong, widely separated bipole, leading polarity negative"


def wait_for(address: str, server: subprocess.Popen[bytes]) -> None:
    for _ in range(1200):
        if server.poll() is not None:
            raise SystemExit("the server ended before it answered; see above")
        try:
            with urllib.request.urlopen(address + "/api/health", timeout=5):
                return
        except (urllib.error.URLError, TimeoutError):
            time.sleep(0.5)
    raise SystemExit(f"{address} does not answer")


def at_rest(page: Page) -> None:
    """The patch is solved exactly, and its matches are found and drawn."""
    resting = "document.getElementById('busy').hidden && !document.querySelector('#found[aria-busy]')"
    for _ in range(900):
        page.wait_for_timeout(200)
        if page.evaluate(resting):
            break
    page.wait_for_timeout(2_000)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--archive", default="demo/archive")
    parser.add_argument("--model", default="physical")
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "docs" / "pictures" / "page.png")
    asked = parser.parse_args()
    browser_path = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    command = [
        str(Path(sys.executable).with_name("solquery")),
        "app",
        "--archive",
        asked.archive,
        "--model",
        asked.model,
    ]
    server = subprocess.Popen([*command, "--port", str(port)])
    try:
        wait_for(address, server)
        with sync_playwright() as play:
            browser = play.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": 1680, "height": 980})
            page.set_default_timeout(180_000)
            page.goto(address)
            page.wait_for_selector("html[data-ready]", state="attached")
            page.click("#welcome-close")
            page.fill("#describe", WORDS)
            page.click("#ask button[type=submit]")
            page.check("#pil")
            page.get_by_role("checkbox", name="Centroids").check()
            at_rest(page)
            page.screenshot(path=str(asked.out))
            browser.close()
    finally:
        server.terminate()
        server.wait(30)
    print(asked.out)


if __name__ == "__main__":
    main()
