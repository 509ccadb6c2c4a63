"""Exported models over HTTP, by the Open Inference Protocol, version 2: an ASGI application, and a server.

from kcompile_runtime.serving import application
app = application({"digits": "model.so"})

`python -m kcompile_runtime.serving model.so` and `kcompile serve model.so` run it. Enters: libraries, and
requests from anyone. Leaves: answers; what does not fit is refused by a status of HTTP and {"error": ...}.
Starlette and uvicorn (extra `serve`) are imported when they are used.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any

from kcompile_runtime.artifact import Artifact
from kcompile_runtime.errors import InputError, describe
from kcompile_runtime.extras import library
from kcompile_runtime.loading import load
from kcompile_runtime.serving_batches import Batches
from kcompile_runtime.serving_limits import Limits, add_arguments
from kcompile_runtime.serving_metrics import COUNTS, SECONDS, Counter, Gauge, Histogram, exposed
from kcompile_runtime.serving_tensors import Refused, about, answer, read_request
from kcompile_runtime.version import __version__

__all__ = ["Limits", "application", "serve"]

VERSION = "1"  # of every model: a file is one
ASIDE = 1 << 16  # bytes of a body from which on it is read by a thread, so that others are answered meanwhile
HEADER = "inference-header-content-length"


class _Server:
    """The models of an application, and what it counts."""

    def __init__(self, models: Mapping[str, Artifact], limits: Limits) -> None:
        self.models, self.limits = models, limits
        self.disconnected = library("starlette.requests", "serve").ClientDisconnect
        self.batches: dict[str, Batches] = {}
        self.requests, self.seconds = Counter(), Histogram(SECONDS)
        self.rows, self.together = Histogram(COUNTS), Histogram(COUNTS)
        self.computing = Histogram(SECONDS)
        self.metrics: dict[str, tuple[str, Counter | Gauge | Histogram]] = {
            "kcompile_requests_total": ("Answers to inference requests, by HTTP status.", self.requests),
            "kcompile_request_seconds": ("From the head of a request to its answer.", self.seconds),
            "kcompile_batch_rows": ("Samples that were computed together.", self.rows),
            "kcompile_batch_requests": ("Requests that were computed together.", self.together),
            "kcompile_batch_seconds": ("Time of computing a batch.", self.computing),
            "kcompile_waiting_requests": ("Requests in the queue.", Gauge(self._waiting)),
        }

    def start(self) -> None:
        for name, model in self.models.items():
            limits = self.limits
            self.batches[name] = Batches(
                model, limits.batch_rows, limits.delay, limits.waiting, partial(self._observe, name)
            )

    def hurry(self) -> None:
        for batches in self.batches.values():
            batches.hurry()

    async def close(self) -> None:
        batches, self.batches = self.batches, {}
        await asyncio.gather(*(b.close() for b in batches.values()))

    def _observe(self, model: str, requests: int, rows: int, seconds: float) -> None:
        self.rows.observe(rows, model=model)
        self.together.observe(requests, model=model)
        self.computing.observe(seconds, model=model)

    def _waiting(self) -> dict[tuple[tuple[str, str], ...], float]:
        return {(("model", name),): batches.waiting for name, batches in self.batches.items()}

    def model(self, request: Any) -> tuple[str, Artifact]:
        name, version = request.path_params["model"], request.path_params.get("version", VERSION)
        if name not in self.models or version != VERSION:
            known = ", ".join(self.models)
            raise Refused(404, f"expected a model of {known}, version {VERSION}. Received: {name}, {version}")
        return name, self.models[name]

    async def infer(self, request: Any) -> tuple[bytes, int | None]:
        """The body of the answer, and how much of it is JSON, see `answer`. Raises Refused."""
        name, model = self.model(request)
        if request.headers.get("content-encoding", "identity") != "identity":
            raise Refused(415, "expected a body without content-encoding")
        body = await self._body(request)
        given = (body, request.headers.get(HEADER), model.inputs, model.outputs, self.limits.rows)
        asked = await _aside(len(body), partial(read_request, *given))
        batches = self.batches.get(name)
        if batches is None:
            raise Refused(
                503, "the server is not running: it is shutting down, or its lifespan was not started"
            )
        arrays = await batches(asked.arrays, asked.rows)
        said = {"model_name": name, "model_version": VERSION}
        size = sum(array.nbytes for array in arrays)
        body, length = await _aside(size, partial(answer, asked, arrays, model.outputs, said))
        return body, length

    async def _body(self, request: Any) -> bytes:
        limit = self.limits.body_bytes
        too_long = Refused(413, f"expected a body of at most {limit} bytes")
        length = request.headers.get("content-length", "")
        if length.isdecimal() and int(length) > limit:
            raise too_long
        parts, size = [], 0

        async def read() -> None:
            nonlocal size
            async for part in request.stream():
                size += len(part)
                if size > limit:
                    raise too_long
                parts.append(part)

        try:
            await asyncio.wait_for(read(), self.limits.body_seconds)
        except self.disconnected:
            raise Refused(400, "the client went away") from None
        except asyncio.TimeoutError:
            raise Refused(408, f"the body was not there in {self.limits.body_seconds:g} s") from None
        return b"".join(parts)


async def _aside(size: int, work: Callable[[], Any]) -> Any:
    """What a function gives; one that works on many bytes is called in a thread."""
    if size < ASIDE:
        return work()
    return await asyncio.get_running_loop().run_in_executor(None, work)


def application(models: Mapping[str, Artifact | str | os.PathLike[str]], limits: Limits | None = None) -> Any:
    """An ASGI application (of Starlette) that serves models.

    models: by name, libraries that `kcompile.export` wrote, or loaded ones; the self-test of each is run.
    limits: what it takes, `Limits()` if None. It answers GET /v2, /v2/health/live, /v2/health/ready,
    /v2/models/NAME, .../ready, /metrics, and POST /v2/models/NAME/infer; models may be followed by
    /versions/1. Raises ExtraError without Starlette, InputError without a model, what `load` raises, and
    NativeError where a self-test fails.
    """
    applications = library("starlette.applications", "serve")
    responses, routing = (library("starlette.responses", "serve"), library("starlette.routing", "serve"))
    http = library("starlette.exceptions", "serve")
    if not models:
        raise InputError(describe("application", "at least one model", "none"))
    loaded = {name: m if isinstance(m, Artifact) else load(m) for name, m in models.items()}
    for model in loaded.values():
        model.selftest()
    server = _Server(loaded, limits or Limits())

    def error(status: int, message: str, headers: Mapping[str, str] | None = None) -> Any:
        again = {"retry-after": "1"} if status == 503 else {}
        return responses.JSONResponse({"error": message}, status, headers={**(headers or {}), **again})

    async def live(request: Any) -> Any:
        return responses.JSONResponse({"live": True})

    async def ready(request: Any) -> Any:
        if "model" in request.path_params:
            server.model(request)
        if not server.batches:
            return error(503, "not ready")
        return responses.JSONResponse({"ready": True})

    async def about_server(request: Any) -> Any:
        extensions = ["binary_tensor_data"]
        return responses.JSONResponse({"name": "kcompile", "version": __version__, "extensions": extensions})

    async def about_model(request: Any) -> Any:
        name, model = server.model(request)
        described = {"inputs": [*map(about, model.inputs)], "outputs": [*map(about, model.outputs)]}
        return responses.JSONResponse(
            {"name": name, "versions": [VERSION], "platform": "kcompile_library", **described}
        )

    async def infer(request: Any) -> Any:
        begin = time.monotonic()
        name, status = request.path_params["model"], 500
        known = name if name in server.models else ""  # no label of whatever somebody sends
        try:
            body, length = await server.infer(request)
            status = 200
        except Refused as refused:
            status = refused.status
            raise
        finally:
            server.requests.add(model=known, code=str(status))
            server.seconds.observe(time.monotonic() - begin, model=known)
        if length is None:
            return responses.Response(body, media_type="application/json")
        return responses.Response(body, headers={HEADER: str(length)}, media_type="application/octet-stream")

    async def metrics(request: Any) -> Any:
        kind = "text/plain; version=0.0.4; charset=utf-8"
        return responses.Response(exposed(server.metrics), media_type=kind)

    async def refused(request: Any, exception: Any) -> Any:
        return error(exception.status, str(exception))

    async def of_http(request: Any, exception: Any) -> Any:
        return error(exception.status_code, str(exception.detail), exception.headers)

    async def internal(request: Any, exception: Exception) -> Any:
        return error(500, "internal error")

    @contextlib.asynccontextmanager
    async def running(app: Any) -> AsyncIterator[None]:
        server.start()
        try:
            yield
        finally:
            await server.close()

    def routes(prefix: str) -> list[Any]:
        return [
            routing.Route(prefix, about_model),
            routing.Route(f"{prefix}/ready", ready),
            routing.Route(f"{prefix}/infer", infer, methods=["POST"]),
        ]

    handlers: dict[Any, Callable[..., Awaitable[Any]]] = {
        Refused: refused,
        http.HTTPException: of_http,
        Exception: internal,
    }
    app = applications.Starlette(
        routes=[
            routing.Route("/v2", about_server),
            routing.Route("/v2/health/live", live),
            routing.Route("/v2/health/ready", ready),
            *routes("/v2/models/{model}"),
            *routes("/v2/models/{model}/versions/{version}"),
            routing.Route("/metrics", metrics),
        ],
        exception_handlers=handlers,
        lifespan=running,
    )
    app.state.hurry = server.hurry  # a server that ends says so, before it waits for answers
    return app


def _hurried(app: Any, shutdown: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    """The end of a server, which waits for answers: before, requests are told to wait for no others."""

    async def ending(*arguments: Any, **options: Any) -> None:
        getattr(getattr(app, "state", None), "hurry", lambda: None)()
        await shutdown(*arguments, **options)

    return ending


def serve(app: Any, host: str = "127.0.0.1", port: int = 8000) -> None:
    """Serve an application until SIGTERM or SIGINT; requests that are there are answered then.

    app: of `application`. host: an address of this machine; port: 0 for one that is free. Where it listens
    is printed. Raises ExtraError without uvicorn, and OSError for an address that cannot be had.
    """
    uvicorn = library("uvicorn", "serve")
    config = uvicorn.Config(
        app, lifespan="on", log_level="warning", timeout_keep_alive=30, timeout_graceful_shutdown=60
    )
    (family, *_, address) = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.create_server(address[:2], family=family, backlog=2048) as listening:
        # Connections have it from here: asyncio sets it on those alone whose protocol number is not 0
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        place = f"[{host}]" if ":" in host else host
        print(f"listening on http://{place}:{listening.getsockname()[1]}", flush=True)
        before = {s: signal.signal(s, lambda *_: None) for s in (signal.SIGTERM, signal.SIGINT)}
        try:  # uvicorn sends the signal that stopped it once more, when it is done
            server = uvicorn.Server(config)
            server.shutdown = _hurried(app, server.shutdown)
            server.run([listening])
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def run(arguments: argparse.Namespace) -> int:
    """Serve as arguments of `add_arguments` say. Returns 0. Raises InputError for two models of one name, and
    what `application` and `serve` raise."""
    models: dict[str, Artifact] = {}
    for text in arguments.models:
        name, equals, path = text.partition("=")
        if not equals:
            name, path = os.path.splitext(os.path.basename(text))[0], text
        if name in models or not name or "/" in name:
            raise InputError(describe("models", "a name of its own for each, NAME=MODEL.so", repr(name)))
        models[name] = load(path, arguments.threads)
    limits = Limits(
        body_bytes=arguments.bytes,
        rows=arguments.rows,
        batch_rows=arguments.batch,
        delay=arguments.delay / 1000,
        waiting=arguments.waiting,
    )
    serve(application(models, limits), arguments.host, arguments.port)
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """`python -m kcompile_runtime.serving`. argv: the arguments, those of the process if None. Returns 0."""
    parser = argparse.ArgumentParser(
        prog="python -m kcompile_runtime.serving",
        description="Serve exported models by the Open Inference Protocol, version 2.",
    )
    add_arguments(parser)
    return run(parser.parse_args(argv))


if __name__ == "__main__":
    sys.exit(main())
