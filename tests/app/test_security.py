"""Who is answered, how much is taken, what a browser is told, and what an error lets out."""

from __future__ import annotations

import logging

import pytest
from starlette.testclient import TestClient
from typer.testing import CliRunner

from solquery.app import create_app
from solquery.app.security import FITS_LIMIT_BYTES, JSON_LIMIT_BYTES
from solquery.cli.root import app as cli

TOKEN = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def guarded(service):
    with TestClient(create_app(service, token=TOKEN), base_url="http://observatory.example:8377") as client:
        yield client


@pytest.mark.parametrize("path", ["/", "/page/main.js", "/page/style.css", "/api/health", "/api/nowhere"])
def test_every_answer_carries_the_headers(client, path):
    headers = client.get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy and "script-src 'self'" in policy and "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "no-referrer"
    assert "cache-control" in headers and "server" not in headers


def test_the_page_needs_nothing_from_elsewhere_and_nothing_inline(client):
    page = client.get("/").text
    assert "http://" not in page and "https://" not in page
    assert " style=" not in page and " onclick=" not in page and "<style" not in page
    import re

    for name in re.findall(r'(?:src|href)="(/[^"#]*)"', page):
        assert client.get(name).status_code == 200, name
    main = client.get("/page/main.js")
    assert main.headers["content-type"].startswith("text/javascript")
    for name in re.findall(r'from "\./([\w.]+)"', main.text):
        assert client.get(f"/page/{name}").status_code == 200, name


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "0.0.0.0", "localhost.evil"])
def test_another_name_is_not_answered_on_a_loopback_address(client, host):
    assert client.get("/api/health", headers={"host": host}).status_code == 400


@pytest.mark.parametrize("host", ["localhost:8377", "127.0.0.1", "[::1]:8377"])
def test_this_machine_is_answered_under_its_names(client, host):
    assert client.get("/api/health", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "headers", [{"origin": "http://evil.example"}, {"sec-fetch-site": "cross-site"}, {"origin": "null"}]
)
def test_another_site_may_not_ask(client, headers):
    assert client.post("/api/generate", json={}, headers=headers).status_code == 403
    assert client.post("/api/patch", content=b"x", headers=headers).status_code == 403


@pytest.mark.parametrize("path", ["/", "/api/health", "/page/main.js", "/api/openapi.json", "/api/nowhere"])
def test_without_the_token_nothing_is_told(guarded, path):
    for headers in (
        {},
        {"authorization": "Bearer wrong"},
        {"cookie": "solquery_token=wrong"},
        {"authorization": TOKEN},
    ):
        response = guarded.get(path, headers=headers)
        assert response.status_code == 401 and "model" not in response.text


def test_the_token_is_taken_from_header_address_and_cookie(guarded):
    assert guarded.get("/api/health", headers={"authorization": f"Bearer {TOKEN}"}).status_code == 200
    first = guarded.get(f"/?token={TOKEN}", follow_redirects=False)
    assert first.status_code == 303 and first.headers["location"] == "/", "the token leaves the address bar"
    assert "HttpOnly" in first.headers["set-cookie"] and "SameSite=Strict" in first.headers["set-cookie"]
    assert guarded.get("/api/health").status_code == 200, "by the cookie"
    again = guarded.get(f"//evil.example?token={TOKEN}", follow_redirects=False)
    assert not again.headers.get("location", "").startswith("//")


def test_what_is_too_large_is_refused_before_it_is_read(client):
    def endless():
        for _ in range(2 * FITS_LIMIT_BYTES // 2**20):
            yield bytes(2**20)

    assert client.post("/api/patch", content=bytes(FITS_LIMIT_BYTES + 1)).status_code == 413
    assert client.post("/api/patch", content=endless()).status_code == 413, "without a declared length too"
    body = b'{"z": "' + b"A" * JSON_LIMIT_BYTES + b'"}'
    assert client.post("/api/edit", content=body, headers={"content-type": "application/json"}).status_code == 413
    assert client.post("/api/edit", headers={"content-length": "many"}).status_code in (400, 422)


@pytest.mark.parametrize(
    "path",
    [
        "/page/../server.py", "/page/..%2fserver.py", "/page/%2e%2e/server.py", "/page//etc/passwd", "/page/",
        "/api/patch/../../etc/passwd", "/api/patch/%2fetc%2fpasswd", "/api/patch/..%2f..%2fbundle.json",
    ],
)  # fmt: skip
def test_no_path_of_a_client_reaches_a_file(client, path):
    response = client.get(path)
    assert response.status_code == 404 and "root:" not in response.text and "import" not in response.text


def test_a_fault_of_the_server_tells_nothing_and_is_logged(client, service, monkeypatch, caplog):
    def broken(*_):
        raise RuntimeError("secret at /home/somebody")

    monkeypatch.setattr(service, "cloud", broken)
    with caplog.at_level(logging.ERROR, "solquery.app"):
        response = client.get("/api/cloud")
    assert response.status_code == 500 and response.json()["error"]["kind"] == "fault"
    assert "secret" not in response.text and "Traceback" not in response.text
    assert any(record.name == "solquery.app" and record.exc_info for record in caplog.records)


def test_a_short_token_and_a_taken_port_are_refused_in_one_line(service, tmp_path):
    import socket

    done = CliRunner().invoke(cli, ["app", "--host", "0.0.0.0", "--token", "abc"])
    assert done.exit_code == 2 and "16 or more" in done.stderr
    done = CliRunner().invoke(cli, ["app", "--archive", str(tmp_path / "none")])
    assert done.exit_code == 1 and "no archive at" in done.stderr
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = CliRunner().invoke(cli, ["app", "--port", str(taken.getsockname()[1])])
    assert done.exit_code == 1 and done.stderr.strip().splitlines()[-1].endswith("choose another --port")
