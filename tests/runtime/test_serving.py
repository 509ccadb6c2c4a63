"""Exported models over HTTP, by the Open Inference Protocol: what is asked, refused, joined, counted."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies

import kcompile
import kcompile_runtime as rt
from kcompile.keras.layers import Concatenate, Dense, Embedding, Flatten, Input, Lambda
from kcompile.keras.models import Model
from kcompile_runtime.layout import ELEMENTS
from kcompile_runtime.serving_limits import Limits
from kcompile_runtime.serving_metrics import Counter, Histogram, exposed
from kcompile_runtime.serving_tensors import Refused, answer, datatype, read_request
from kcompile_runtime.spec import TensorSpec

pytest.importorskip("starlette")

from kcompile_runtime.serving import application, main

X = np.random.default_rng(0).random((6, 3), dtype=np.float32)


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """plain: float32 [n, 3] to [n, 2]. words: int32 numbers below 5, and floats, to two outputs."""
    folder = tmp_path_factory.mktemp("served")
    entry = Input((3,), name="x")
    plain = Model(entry, Dense(2, name="y")(entry))
    numbers, floats = Input((2,), dtype="int32", name="numbers"), Input((1,), name="floats")
    joined = Concatenate(name="joined")([Flatten()(Embedding(5, 2)(numbers)), floats])
    words = Model([numbers, floats], [joined, Lambda(lambda t: t * 1e38 * 1e2, name="large")(floats)])
    paths = {}
    for name, model in (("plain", plain), ("words", words)):
        paths[name] = folder / f"{name}.so"
        kcompile.export(model, paths[name])
    return paths


class Answer:
    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self) -> Any:
        return json.loads(self.body)


Ask = Callable[..., Awaitable[Answer]]


def served(app: Any, talk: Callable[[Ask], Awaitable[Any]]) -> Any:
    """What a conversation with an application gives: it is started, asked, and ended."""

    async def ask(path: str, body: Any = None, pause: float = 0, **headers: str) -> Answer:
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        scope = {
            "type": "http",
            "method": headers.pop("method", "GET" if body is None else "POST"),
            "path": path,
            "query_string": b"",
            "headers": [(k.replace("_", "-").encode(), v.encode()) for k, v in headers.items()],
        }
        got: dict[str, Any] = {"body": b""}
        parts = [data[:10], data[10:]]

        async def receive() -> dict[str, Any]:
            await asyncio.sleep(pause)
            if not parts:
                return {"type": "http.disconnect"}
            return {"type": "http.request", "body": parts.pop(0), "more_body": bool(parts)}

        async def send(event: dict[str, Any]) -> None:
            got.update(event, body=got["body"] + event.get("body", b""))

        try:
            await app(scope, receive, send)
        except RuntimeError:  # raised once more for the server's log
            assert got["status"] == 500
        return Answer(got["status"], {k.decode(): v.decode() for k, v in got["headers"]}, got["body"])

    async def whole() -> Any:
        events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        said: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        life = asyncio.create_task(app({"type": "lifespan"}, events.get, said.put))
        await events.put({"type": "lifespan.startup"})
        assert (await said.get())["type"] == "lifespan.startup.complete"
        try:
            return await talk(ask)
        finally:
            await events.put({"type": "lifespan.shutdown"})
            assert (await said.get())["type"] == "lifespan.shutdown.complete"
            await life

    return asyncio.run(whole())


def plain(rows: np.ndarray = X, **rest: Any) -> dict[str, Any]:
    tensor = {"name": "x", "shape": list(rows.shape), "datatype": "FP32", "data": rows.tolist()}
    return {"inputs": [{**tensor, **rest.pop("tensor", {})}], **rest}


def test_health_and_metadata(libraries: dict[str, Path]) -> None:
    app = application(libraries)

    async def talk(ask: Ask) -> None:
        assert (await ask("/v2/health/live")).status == (await ask("/v2/health/ready")).status == 200
        assert (await ask("/v2")).json == {
            "name": "kcompile",
            "version": kcompile.__version__,
            "extensions": ["binary_tensor_data"],
        }
        assert (await ask("/v2/models/words/versions/1")).json == {
            "name": "words",
            "versions": ["1"],
            "platform": "kcompile_library",
            "inputs": [
                {"name": "numbers", "datatype": "INT32", "shape": [-1, 2]},
                {"name": "floats", "datatype": "FP32", "shape": [-1, 1]},
            ],
            "outputs": [
                {"name": "joined", "datatype": "FP32", "shape": [-1, 5]},
                {"name": "large", "datatype": "FP32", "shape": [-1, 1]},
            ],
        }
        assert (await ask("/v2/models/plain/ready")).status == 200
        for path in ("/v2/models/other", "/v2/models/plain/versions/2/ready", "/v1"):
            found = await ask(path)
            assert found.status == 404 and set(found.json) == {"error"}
        wrong = await ask("/v2/models/plain/infer")
        assert wrong.status == 405 and wrong.headers["allow"] == "POST" and "error" in wrong.json

    served(app, talk)


def test_predictions_are_those_of_the_library(libraries: dict[str, Path]) -> None:
    model = rt.load(libraries["plain"])
    expected = model.predict(X)

    async def talk(ask: Ask) -> None:
        nested = await ask("/v2/models/plain/infer", plain(id="seven"))
        assert nested.status == 200 and nested.headers["content-type"] == "application/json"
        assert {k: v for k, v in nested.json.items() if k != "outputs"} == {
            "model_name": "plain",
            "model_version": "1",
            "id": "seven",
        }
        (y,) = nested.json["outputs"]
        assert (y["name"], y["datatype"], y["shape"]) == ("y", "FP32", [6, 2])
        np.testing.assert_array_equal(np.float32(y["data"]).reshape(6, 2), expected)
        flat = await ask("/v2/models/plain/versions/1/infer", plain(tensor={"data": X.ravel().tolist()}))
        assert flat.json["outputs"] == nested.json["outputs"] and "id" not in flat.json

        head = plain(tensor={"parameters": {"binary_data_size": X.nbytes}})
        del head["inputs"][0]["data"]
        head["parameters"] = {"binary_data_output": True}
        text = json.dumps(head).encode()
        both = await ask(
            "/v2/models/plain/infer", text + X.tobytes(), inference_header_content_length=str(len(text))
        )
        length = int(both.headers["inference-header-content-length"])
        assert both.status == 200 and both.headers["content-type"] == "application/octet-stream"
        (y,) = json.loads(both.body[:length])["outputs"]
        assert y["parameters"] == {"binary_data_size": 48} and "data" not in y
        np.testing.assert_array_equal(np.frombuffer(both.body[length:], np.float32).reshape(6, 2), expected)

    served(application({"plain": model}), talk)


def test_several_inputs_and_outputs(libraries: dict[str, Path]) -> None:
    numbers, floats = np.array([[0, 4], [1, 1]], np.int32), np.array([[1], [2]], np.float32)
    tensors = [
        {"name": "floats", "shape": [2, 1], "datatype": "FP32", "data": [1, 2.0]},
        {"name": "numbers", "shape": [2, 2], "datatype": "INT32", "data": numbers.tolist()},
    ]
    expected = rt.load(libraries["words"]).predict([numbers, floats])

    async def talk(ask: Ask) -> None:
        found = await ask("/v2/models/words/infer", {"inputs": tensors, "outputs": [{"name": "joined"}]})
        assert [y["name"] for y in found.json["outputs"]] == ["joined"]
        np.testing.assert_array_equal(np.float32(found.json["outputs"][0]["data"]), expected[0].ravel())
        everything = await ask("/v2/models/words/infer", {"inputs": tensors})
        assert everything.status == 422 and "NaN or infinite" in everything.json["error"]
        parameters = {"binary_data": True}
        mixed = [{"name": "large", "parameters": parameters}, {"name": "joined"}]
        found = await ask("/v2/models/words/infer", {"inputs": tensors, "outputs": mixed})
        length = int(found.headers["inference-header-content-length"])
        assert [("data" in y) for y in json.loads(found.body[:length])["outputs"]] == [False, True]
        assert np.frombuffer(found.body[length:], np.float32).tolist() == [np.inf, np.inf]
        wrong = [tensors[0], {**tensors[1], "data": [[0, 5], [1, 1]]}]
        found = await ask("/v2/models/words/infer", {"inputs": wrong})
        assert found.status == 400 and "whole numbers from 0 to 4" in found.json["error"]
        fewer = [tensors[0], {**tensors[1], "shape": [1, 2], "data": [0, 1]}]
        found = await ask("/v2/models/words/infer", {"inputs": fewer})
        assert found.status == 400 and "samples as of the inputs before" in found.json["error"]

    served(application(libraries), talk)


ANYTHING = strategies.recursive(
    strategies.none()
    | strategies.booleans()
    | strategies.integers()
    | strategies.floats()
    | strategies.text(),
    lambda inner: strategies.lists(inner) | strategies.dictionaries(strategies.text(), inner),
    max_leaves=8,
)


@strategies.composite
def requests(draw: Any) -> bytes:
    """A request with one part changed, or some bytes."""
    tensor = {"name": "x", "shape": [1, 2], "datatype": "INT64", "data": [3, 4]}
    whole: dict[str, Any] = {"inputs": [tensor], "outputs": [{"name": "x"}], "parameters": {}, "id": "a"}
    changed = draw(strategies.sampled_from([tensor, whole, whole["outputs"][0], whole["parameters"]]))
    names = [*changed, "binary_data", "binary_data_size", "binary_data_output"]
    changed[draw(strategies.sampled_from(names))] = draw(ANYTHING)
    text = json.dumps(whole).encode()
    return draw(strategies.just(text) | strategies.binary(max_size=9).map(lambda end: text + end))


@given(request=requests())
def test_whatever_comes_is_read_or_refused(request: bytes) -> None:
    specs = (TensorSpec("x", ("n", 2), "int64"),)
    try:
        found = read_request(request, None, specs, specs, 9)
        assert found.arrays[0].shape == (found.rows, 2)
    except Refused as refused:
        assert refused.status in (400, 413) and str(refused)


WRONG = [
    (b"{", "no JSON"),
    (b"\xff", "no JSON"),
    (b"[" * 100_000, "no JSON"),
    (b'{"inputs": [NaN]}', "no JSON"),
    (b'{"inputs": [], "inputs": []}', "an object has a name twice"),
    (plain(tensor={"data": [0] * 17}), "flat or nested as [6, 3]. Received: shape [17]"),
    ([], "the request: expected an object. Received: an array"),
    ({}, "inputs: expected ['x']. Missing: ['x']"),
    ({"inputs": 3}, "inputs: expected an array. Received: a number"),
    ({"inputs": ["x"]}, "each of inputs: expected an object. Received: a string"),
    ({"inputs": [{"name": "z"}]}, "inputs: expected names of ['x']. Received: 'z'"),
    ({"inputs": plain()["inputs"] * 2}, "inputs: x is there twice"),
    (plain(id=3), "id: expected a string"),
    (plain(outputs=[{"name": "z"}]), "outputs: expected names of ['y']"),
    (plain(parameters={"binary_data_output": 1}), "expected true or false"),
    (plain(parameters=[]), "parameters of the request: expected an object"),
    (plain(tensor={"datatype": "FP64"}), "expected datatype FP32. Received: 'FP64'"),
    (plain(tensor={"shape": [6, 4]}), "expected shape [-1, 3]. Received: [6, 4]"),
    (plain(tensor={"shape": [6, -3]}), "shape: expected an array of sizes"),
    (plain(tensor={"shape": [6, True]}), "shape: expected an array of sizes"),
    (plain(tensor={"shape": [0, 3], "data": []}), "at least one sample"),
    (plain(tensor={"shape": [5, 3]}), "data: expected 15 numbers, flat or nested as [5, 3]"),
    (plain(tensor={"data": [[1, 2], [3]]}), "in arrays of equal lengths"),
    (plain(tensor={"data": ["1"] * 18}), "expected numbers of FP32"),
    (plain(tensor={"data": [True] * 18}), "expected numbers of FP32"),
    (plain(tensor={"data": [None] * 18}), "expected numbers of FP32"),
    (plain(tensor={"data": [[0, 1, 2], 3]}), "in arrays of equal lengths"),
    (plain(tensor={"data": [[[]]] * 18}), "data: expected 18 numbers, flat or nested as [6, 3]"),
    (plain(tensor={"data": ["x" * 1000_000, *[""] * 17]}), "expected numbers of FP32"),
    (plain(tensor={"data": [0.5] * 17 + [True]}), "expected numbers of FP32"),
    (plain(tensor={"data": [10**400] * 18}), "within the range of FP32"),
    (plain(tensor={"data": [1e300] * 18}), "within the range of FP32"),
    (plain(tensor={"data": "x"}), "data: expected an array. Received: a string"),
    (plain(tensor={"parameters": {"binary_data_size": 72}}), "expected data, or binary_data_size"),
]


@pytest.mark.parametrize("body, message", WRONG, ids=[message for _, message in WRONG])
def test_what_does_not_fit_is_refused(body: Any, message: str) -> None:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    with pytest.raises(Refused) as refused:
        read_request(text, None, (TensorSpec("x", ("n", 3)),), (TensorSpec("y", ("n", 2)),), 100)
    assert refused.value.status == 400 and message in str(refused.value)


@pytest.mark.parametrize("name", ELEMENTS)
def test_every_dtype_goes_in_and_out_in_json_and_bytes(name: str) -> None:
    spec = (TensorSpec("x", ("n", 2), name),)
    kind = spec[0].numpy_dtype
    values = np.array([[0, 1], [1, 1]], kind)
    if kind.kind in "iu":
        values[0] = np.iinfo(kind).min, np.iinfo(kind).max
    tensor = {"name": "x", "shape": [2, 2], "datatype": datatype(spec[0])}
    text = json.dumps({"inputs": [{**tensor, "data": values.tolist()}]}).encode()
    found = read_request(text, None, spec, spec, 9)
    assert found.arrays[0].dtype == kind and (found.arrays[0] == values).all() and found.rows == 2
    body, length = answer(found, found.arrays, spec, {})
    assert length is None and json.loads(body)["outputs"] == [{**tensor, "data": values.ravel().tolist()}]

    behind = {**tensor, "parameters": {"binary_data_size": values.nbytes}}
    head = json.dumps({"inputs": [behind], "parameters": {"binary_data_output": True}}).encode()
    found = read_request(head + values.tobytes(), str(len(head)), spec, spec, 9)
    assert found.arrays[0].dtype == kind and (found.arrays[0] == values).all()
    body, length = answer(found, found.arrays, spec, {})
    assert length is not None and json.loads(body[:length])["outputs"] == [behind]
    assert body[length:] == values.tobytes()
    with pytest.raises(Refused, match="bytes"):
        read_request(head + values.tobytes()[1:], str(len(head)), spec, spec, 9)
    with pytest.raises(Refused, match="Inference-Header-Content-Length"):
        read_request(head, str(len(head) + 1), spec, spec, 9)

    wrong = {"b": [0, 1, 1, 0], "f": [False] * 4}.get(kind.kind, [0.5] * 4)
    for data in (wrong, [10**30] * 4 if kind.kind in "iu" else [{}] * 4):
        with pytest.raises(Refused, match=r"numbers (of|from)"):
            text = json.dumps({"inputs": [{**tensor, "data": data}]}).encode()
            read_request(text, None, spec, spec, 9)
    if kind.kind in "iu" and kind.itemsize < 8:
        data = [int(np.iinfo(kind).max) + 1] * 4
        with pytest.raises(Refused, match="numbers from"):
            read_request(json.dumps({"inputs": [{**tensor, "data": data}]}).encode(), None, spec, spec, 9)


def test_limits(libraries: dict[str, Path]) -> None:
    limits = Limits(body_bytes=2000, rows=6, body_seconds=0.05)

    async def talk(ask: Ask) -> None:
        path = "/v2/models/plain/infer"
        assert (await ask(path, plain())).status == 200
        rows = await ask(path, plain(np.zeros((7, 3), "f")))
        assert rows.status == 413 and "at most 6 samples" in rows.json["error"]
        told = await ask(path, plain(), content_length="2001")
        sent = await ask(path, b" " * 2001)
        assert told.status == sent.status == 413 and "at most 2000 bytes" in sent.json["error"]
        slow = await ask(path, plain(), pause=0.1)
        assert slow.status == 408
        packed = await ask(path, plain(), content_encoding="gzip")
        assert packed.status == 415 and "content-encoding" in packed.json["error"]
        gone = await ask("/v2/models/gone/infer", plain())
        assert gone.status == 404
        text = (await ask("/metrics")).body.decode()
        for model, code, count in (("plain", 200, 1), ("plain", 413, 3), ("plain", 408, 1), ("", 404, 1)):
            assert f'kcompile_requests_total{{model="{model}",code="{code}"}} {count}\n' in text

    served(application(libraries, limits), talk)
    for name, value in (("rows", 0), ("delay", -1), ("waiting", 1.5), ("delay", float("nan"))):
        with pytest.raises(ValueError, match=name):
            Limits(**{name: value})


def test_requests_that_wait_are_computed_together(libraries: dict[str, Path]) -> None:
    model = rt.load(libraries["plain"])

    async def talk(ask: Ask) -> None:
        path = "/v2/models/plain/infer"
        parts = [X[:1], X[1:3], X[3:6], X[:4], X[5:]]
        found = await asyncio.gather(*(ask(path, plain(part)) for part in parts))
        for answered, part in zip(found, parts):
            (y,) = answered.json["outputs"]
            assert y["shape"] == [len(part), 2]
            np.testing.assert_array_equal(np.float32(y["data"]).reshape(-1, 2), model.predict(part))
        text = (await ask("/metrics")).body.decode()
        # 1 + 2 + 3 rows, with 4 more than 8: a batch; 4 and 1 the next
        assert 'kcompile_batch_requests_sum{model="plain"} 5\n' in text
        assert 'kcompile_batch_requests_count{model="plain"} 2\n' in text
        assert 'kcompile_batch_rows_bucket{model="plain",le="8"} 2\n' in text
        assert 'kcompile_waiting_requests{model="plain"} 0\n' in text

    served(application({"plain": model}, Limits(batch_rows=8, delay=0.1)), talk)


def test_a_wrong_number_fails_its_own_request_alone(libraries: dict[str, Path]) -> None:
    def words(number: int) -> dict[str, Any]:
        floats = {"name": "floats", "shape": [1, 1], "datatype": "FP32", "data": [0]}
        numbers = {"name": "numbers", "shape": [1, 2], "datatype": "INT32", "data": [number, 0]}
        return {"inputs": [numbers, floats], "outputs": [{"name": "joined"}]}

    async def talk(ask: Ask) -> None:
        found = await asyncio.gather(*(ask("/v2/models/words/infer", words(n)) for n in (0, 9, 4)))
        assert [f.status for f in found] == [200, 400, 200]
        assert "9, at place 0 of sample 0" in found[1].json["error"]

    served(application(libraries, Limits(delay=0.1)), talk)


def test_a_full_queue_refuses_and_an_end_answers_what_waits(libraries: dict[str, Path]) -> None:
    waiting: list[asyncio.Task[Answer]] = []

    async def talk(ask: Ask) -> None:
        waiting.extend(asyncio.create_task(ask("/v2/models/plain/infer", plain())) for _ in range(3))
        await asyncio.sleep(0.05)
        text = (await ask("/metrics")).body.decode()
        assert 'kcompile_waiting_requests{model="plain"} 2\n' in text

    served(application({"plain": libraries["plain"]}, Limits(waiting=2, delay=60)), talk)
    assert [task.result().status for task in waiting] == [200, 200, 503]
    refused = waiting[2].result()
    assert refused.headers["retry-after"] == "1" and "2 requests are waiting" in refused.json["error"]


def test_an_error_of_the_model_is_no_fault_of_the_request(
    libraries: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = rt.load(libraries["plain"])

    def broken(x: Any, batch_size: int) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(model, "predict", broken)

    async def talk(ask: Ask) -> None:
        found = await ask("/v2/models/plain/infer", plain())
        assert (found.status, found.json) == (500, {"error": "internal error"})

    served(application({"plain": model}), talk)


def test_text_for_prometheus() -> None:
    counter, histogram = Counter(), Histogram((1, 2.5))
    counter.add(name='a"b\\c\nd')
    counter.add(2)
    for value in (0.5, 1, 2, 9):
        histogram.observe(value, model="m")
    assert exposed({"c_total": ("Some.", counter), "h": ("More.", histogram)}).splitlines() == [
        "# HELP c_total Some.",
        "# TYPE c_total counter",
        r'c_total{name="a\"b\\c\nd"} 1',
        "c_total 2",
        "# HELP h More.",
        "# TYPE h histogram",
        'h_bucket{model="m",le="1"} 2',
        'h_bucket{model="m",le="2.5"} 3',
        'h_bucket{model="m",le="+Inf"} 4',
        'h_sum{model="m"} 12.5',
        'h_count{model="m"} 4',
    ]


def test_models_need_names_of_their_own(libraries: dict[str, Path]) -> None:
    path = str(libraries["plain"])
    for models in ([path, f"plain={path}"], [f"={path}"], [f"a/b={path}"]):
        with pytest.raises(ValueError, match="a name of its own"):
            main(models)
    with pytest.raises(ValueError, match="at least one model"):
        application({})


def test_it_may_be_mounted(libraries: dict[str, Path]) -> None:
    from starlette.applications import Starlette
    from starlette.routing import Mount

    inner = application({"plain": libraries["plain"]})
    started = Starlette(
        routes=[Mount("/models", inner)], lifespan=lambda app: inner.router.lifespan_context(inner)
    )

    async def talk(ask: Ask) -> Answer:
        return await ask("/models/v2/models/plain/infer", plain())

    assert served(started, talk).json["outputs"][0]["shape"] == [6, 2]
    refused = served(Starlette(routes=[Mount("/models", inner)]), talk)
    assert refused.status == 503 and "lifespan" in refused.json["error"]


def test_a_server_answers_what_is_there_when_it_is_told_to_end(libraries: dict[str, Path]) -> None:
    pytest.importorskip("uvicorn")
    command = [sys.executable, "-m", "kcompile", "serve", f"m={libraries['plain']}", "--port", "0"]
    with subprocess.Popen([*command, "--delay", "60000"], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            address = process.stdout.readline().split()[-1]

            def get(path: str) -> str:
                with urllib.request.urlopen(address + path, timeout=20) as found:
                    return str(found.read(), "utf-8")

            assert json.loads(get("/v2/models/m"))["inputs"][0]["shape"] == [-1, 3]
            with pytest.raises(urllib.error.HTTPError, match="404"):
                get("/v2/models/plain")

            async def ask() -> str:
                url, data = f"{address}/v2/models/m/infer", json.dumps(plain()).encode()
                posting = asyncio.to_thread(urllib.request.urlopen, url, data, 20)
                task = asyncio.create_task(posting)
                while 'waiting_requests{model="m"} 1' not in await asyncio.to_thread(get, "/metrics"):
                    await asyncio.sleep(0.02)
                os.kill(process.pid, signal.SIGTERM)
                return str((await task).read(), "utf-8")

            assert json.loads(asyncio.run(ask()))["outputs"][0]["shape"] == [6, 2]
            assert process.wait(20) == 0
        finally:
            process.kill()
