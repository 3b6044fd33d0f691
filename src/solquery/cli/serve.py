"""The verb `app`: the page and the API on this machine."""

from __future__ import annotations

import contextlib
import os
import socket
import warnings
from typing import Annotated
from urllib.parse import urlsplit

import typer

from ..errors import SolqueryError
from .options import ModelName
from .output import Reporter, note
from .plugins import load_models, measured_in

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the verb of this file."""
    app.command("app")(serve)


def serve(
    archive: Annotated[str | None, typer.Option(help="Directory or URI of the archive to search.")] = None,
    model: ModelName = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes any that is free.")] = 8377,
    host: Annotated[str, typer.Option(help="Another address than this machine's own needs a token.")] = "127.0.0.1",
    token: Annotated[
        str | None, typer.Option(envvar="SOLQUERY_TOKEN", help="For --host; one is made up without it.")
    ] = None,
    public_url: Annotated[
        str | None,
        typer.Option("--public-url", help="Address at which others reach the page, for links that are copied."),
    ] = None,
) -> None:
    """Open the page: move sliders, see the region, find the observations that match. Stop it with Ctrl-C."""
    try:
        import uvicorn

        from ..app import Service, create_app
    except ImportError as error:
        raise SolqueryError(f'the page needs {error.name}: pip install "solquery[app]"') from None
    import secrets

    import torch

    from ..app.security import is_loopback
    from ..app.warm import warm
    from ..archive.store import Archive
    from ..steering import SteeringWarning

    _check(token, public_url)
    if token is None and not is_loopback(host):
        token = secrets.token_hex(24)
    models = load_models(model)
    store = Archive.open(archive) if archive is not None else None
    if store is not None:
        measured_in(store)
    # requests run side by side: one thread each
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", SteeringWarning)
    with Reporter("embedding the archive") as report:
        service = Service(models, store, model_name=model, public_url=public_url, progress=report.count)
    application = create_app(service, token=token)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio switches Nagle's algorithm off only where the protocol is named: with it each answer waits 40 ms
    with contextlib.closing(socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)) as listener:
        if os.name == "posix":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host.strip("[]"), port))
        except OSError as error:
            raise SolqueryError(
                f"port {port} of {host} cannot be used ({error.strerror}); choose another --port"
            ) from None
        with Reporter("preparing the page") as report:
            warm(service, report.count)
        # whoever reads the address below may ask at once, and waits for the server to come up
        listener.listen(128)
        shown = f"[{host}]" if family == socket.AF_INET6 else host
        address = f"http://{shown}:{listener.getsockname()[1]}/"
        typer.echo(address + (f"?token={token}" if token else ""))
        if store is None:
            note("no archive: patches can be made and changed, not searched for; give one with --archive DIR")
        elif service.why_no_search:
            note(service.why_no_search)
        settings = uvicorn.Config(
            application, log_level="warning", access_log=False, server_header=False, lifespan="on"
        )
        uvicorn.Server(settings).run(sockets=[listener])


def _check(token: str | None, public_url: str | None) -> None:
    if token is not None and (len(token) < 16 or not token.isascii() or not token.isalnum()):
        raise typer.BadParameter("a token is made of 16 or more letters and digits")
    if public_url is not None:
        named = urlsplit(public_url)
        if named.scheme not in ("http", "https") or not named.netloc or named.query or named.fragment:
            raise typer.BadParameter(
                f"--public-url {public_url!r} is no address such as https://sun.example.org/solquery/"
            )
