"""A room with a small archive: for the API a generator whose truth is known, for the page the shipped model."""

from __future__ import annotations

import logging
import warnings

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("httpx")

import torch

with warnings.catch_warnings():
    # starlette would rather have httpx2; httpx serves
    warnings.simplefilter("ignore")
    from starlette.testclient import TestClient

from bipoles import bipole_model
from page_driver import CHROMIUM, SIZES, rest, serving

from solquery.app import Service, create_app
from solquery.archive import Archive
from solquery.archive.samples import sample_patches
from solquery.model import Model
from solquery.simulator import simulate_region


def small_archive(folder):
    archive = Archive.create(str(folder))
    for index in range(6):
        archive.add(simulate_region(seed=3, index=index, frames=3))
    # two cut out of full disks, and HARP 115
    archive.add([sample_patches()[k] for k in (0, 1, 9)])
    return archive


@pytest.fixture(scope="session")
def model():
    return bipole_model()


@pytest.fixture(scope="session")
def new_archive(tmp_path_factory):
    """Makes archives that no other service has."""
    return lambda name: small_archive(tmp_path_factory.mktemp(name) / "archive")


@pytest.fixture(scope="session")
def service(model, new_archive):
    return Service(model, new_archive("app"))


@pytest.fixture(scope="session")
def shipped_room(new_archive):
    torch.set_num_threads(1)
    return Service(Model.load(), new_archive("shipped"))


@pytest.fixture(scope="module")
def client(service):
    with TestClient(create_app(service), base_url="http://127.0.0.1", raise_server_exceptions=False) as client:
        yield client


@pytest.fixture(autouse=True)
def quiet(caplog):
    caplog.set_level(logging.CRITICAL, "httpx")


@pytest.fixture(scope="session")
def sample_file():
    """Bytes of a real magnetogram that ships with the package."""
    from importlib.resources import files

    return next(f for f in files("solquery").joinpath("samples").iterdir() if "sharp-856" in f.name).read_bytes()


@pytest.fixture(scope="module")
def address(shipped_room):
    """Of a server with the shipped model, for a browser."""
    with serving(shipped_room) as place:
        yield place


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def opened(browser, address):
    """Opens pages; at the end, none may have thrown, been refused by the policy, or asked anybody else."""
    contexts, wrong = [], []

    def listen(page):
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda m: wrong.append(m.text) if "Content Security Policy" in m.text else None)
        page.on(
            "request",
            lambda r: wrong.append(r.url) if not r.url.startswith((address, "blob:", "data:", "about:")) else None,
        )

    def open_(size="desk", hash="", scheme="light"):
        width, height = SIZES[size]
        context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme, accept_downloads=True,
            reduced_motion="reduce",
        )  # fmt: skip
        context.grant_permissions(["clipboard-read", "clipboard-write"], origin=address)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(45_000)
        listen(page)
        page.goto(address + hash)
        page.wait_for_selector("html[data-ready]", state="attached")
        rest(page)
        # a model with a region's own flux shows that first, and TUF among the rest
        page.evaluate("document.getElementById('more').open = true")
        return page

    open_.address = address
    yield open_
    for context in contexts:
        context.close()
    assert not wrong
