"""A package of one model for JavaScript: what is in it; that it predicts in Node, in a thread, over HTTP."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import kcompile
from kcompile import cli
from kcompile.keras.layers import LSTM, Add, Dense, Embedding, Flatten, Input
from kcompile.keras.models import Model, Sequential
from kcompile.packages.npm import _files

pytest.importorskip("ziglang")
X = np.random.default_rng(3).random((3, 4), dtype=np.float32)
needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="needs node")


def iris() -> Sequential:
    return Sequential([Dense(6, activation="relu", input_shape=(4,)), Dense(3)], name="Iris_model")


def two() -> Model:
    """Two inputs, of numbers and of rows of a table, and two outputs."""
    a, b = Input((3,), name="a"), Input((2,), dtype="int32", name="b")
    rows = Flatten()(Embedding(5, 2)(b))
    return Model([a, b], [Dense(2)(Add()([Dense(4)(a), rows])), rows], name="two")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Sequential, Path]:
    np.random.seed(1)
    model, folder = iris(), tmp_path_factory.mktemp("npm") / "package"
    assert kcompile.export_npm(model, folder, version="1.2.3-beta") == folder
    return model, folder


def node(folder: Path, script: str) -> list[str]:
    """What a script prints that runs in a folder, line by line."""
    command = ["node", "--input-type=module", "-e", script]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_what_is_in_it(made: tuple[Sequential, Path], tmp_path: Path) -> None:
    model, folder = made
    about = json.loads((folder / "package.json").read_text())
    assert (about["name"], about["version"], about["type"]) == ("iris-model", "1.2.3-beta", "module")
    assert "dependencies" not in about
    named = {
        path
        for part in about["exports"].values()
        for path in (part.values() if isinstance(part, dict) else [part])
    }
    for name in (
        *named,
        *about["files"],
        *about["sideEffects"],
        about["main"],
        about["browser"],
        about["types"],
    ):
        assert (folder / name).is_file()
    there = {path.name for path in folder.iterdir()}
    assert there == {*about["files"], "package.json", "README.md"}
    again = kcompile.export_npm(model, tmp_path, version="1.2.3-beta")
    assert all((again / name).read_bytes() == (folder / name).read_bytes() for name in there)


def test_types_are_those_of_the_model() -> None:
    def spec(name, dtype, *shape):
        return {"name": name, "dtype": dtype, "shape": list(shape)}

    about = {
        "name": "x",
        "target": "wasm32",
        "inputs": [spec("a */ b", "uint8", "n", 3), spec("c", "int64", "2n"), spec("d", "bool", "n")],
        "outputs": [spec("y", "float32", "n", 2), spec("z", "float64", "n")],
    }
    files = dict(_files("x", "1.0.0", about, b""))
    types = files["index.d.ts"].decode()
    assert "type Inputs = [Uint8Array, BigInt64Array, Uint8Array];" in types
    assert "type Outputs = [Float32Array, Float64Array];" in types
    assert "a * / b (n, 3), c (2n), d (n). Row by row. */" in types and "$" not in types
    assert "[new Uint8Array(3), new BigInt64Array(2), new Uint8Array(1)]" in files["README.md"].decode()


@needs_node
def test_it_predicts_in_node_and_in_a_thread(made: tuple[Sequential, Path]) -> None:
    model, folder = made
    lines = node(
        folder,
        f"""
        import {{ load }} from "iris-model";
        import {{ load as inThread }} from "iris-model/worker";
        const x = Float32Array.from({X.ravel().tolist()});
        const model = await load(), remote = await inThread();
        console.log(Array.from(model.predict(3, [x])[0]).join(" "), model.selftest() < 1e-4);
        const [y] = await remote.predict(3, [x]);
        console.log(Array.from(y).join(" "), (await remote.selftest()) < 1e-4);
        console.log(x.length, remote.metadata.name);
        const none = new Float32Array(0);
        for (const wrong of [[3, [x.slice(1)]], [3, [Array.from(x)]], [3, []], [0, [none]], [3]])
          for (const ask of [async () => model.predict(...wrong), () => remote.predict(...wrong)])
            await ask().catch((error) => console.log(error.name, error.message));
        remote.close();
        await remote.selftest().catch((error) => console.log(error.message));
        await inThread({{ source: "/no/such.wasm" }}).catch((error) => console.log(error.message));
        """,
    )
    want = model.predict(X, verbose=0).ravel()
    for line in lines[:2]:
        *numbers, good = line.split()
        np.testing.assert_allclose(np.array(numbers, float), want, rtol=1e-5, atol=1e-6)
        assert good == "true"
    assert lines[2] == "12 Iris_model"
    wrong, closed = lines[3:13], lines[13:]
    assert wrong[::2] == wrong[1::2] and len(wrong) == 10  # the same in the thread
    assert [line.split()[0] for line in wrong[::2]] == ["TypeError"] * 3 + ["RangeError", "TypeError"]
    assert closed[0] == "the worker was closed" and "no such file" in closed[1]


@needs_node
def test_streams_and_what_does_not_stream(made: tuple[Sequential, Path]) -> None:
    """Over HTTP with the type that streams, with others; an error of the server's; bytes; a module."""
    lines = node(
        made[1],
        """
        import { createServer } from "node:http";
        import { readFileSync } from "node:fs";
        import { load } from "./index.js"; // the browser's
        const bytes = readFileSync("model.wasm");
        const server = createServer((request, response) => {
          if (request.url === "/missing") return response.writeHead(404).end();
          const type = decodeURIComponent(request.url).slice(1).replace("_", "/");
          response.writeHead(200, { "content-type": type }).end(bytes);
        });
        await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
        const at = (path) => `http://127.0.0.1:${server.address().port}/${path}`;
        const streaming = WebAssembly.compileStreaming;
        let streamed = 0;
        WebAssembly.compileStreaming = (source) => (streamed++, streaming(source));
        const sources = [at("application_wasm"), at("text_plain"), new URL(at("application_wasm")), bytes,
                         fetch(at("application_wasm; charset=x")), new WebAssembly.Module(bytes)];
        for (const source of sources)
          console.log((await load({ source })).selftest() < 1e-4, streamed);
        for (const source of [at("missing"), new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0])])
          await load({ source }).catch((error) => console.log(error.message.slice(-13)));
        server.close();
        """,
    )
    assert lines == [*(f"true {n}" for n in (1, 1, 2, 2, 2, 2)), "404 Not Found", "pile exported"]


@needs_node
def test_several_inputs_and_rows_that_are_not_there(tmp_path: Path) -> None:
    model = two()
    kcompile.export_npm(model, tmp_path)
    a, b = X[:, :3], np.array([[0, 1], [4, 2], [3, 3]], np.int32)
    lines = node(
        tmp_path,
        f"""
        import {{ load }} from "./node.js";
        const model = await load();
        const a = Float32Array.from({a.ravel().tolist()}), b = Int32Array.from({b.ravel().tolist()});
        for (const y of model.predict(3, [a, b])) console.log(Array.from(y).join(" "));
        b[1] = 5;
        try {{ model.predict(3, [a, b]); }} catch (error) {{ console.log(error.name, error.message); }}
        """,
    )
    for line, want in zip(lines, model.predict([a, b], verbose=0)):
        np.testing.assert_allclose(np.array(line.split(), float), want.ravel(), rtol=1e-5, atol=1e-6)
    assert lines[2].startswith("RangeError ") and "expected numbers from 0 to 4. Received: 5" in lines[2]


@needs_node
def test_a_stream_keeps_states(made: tuple[Sequential, Path], tmp_path: Path) -> None:
    model = Sequential([LSTM(3, stateful=True, batch_input_shape=(2, 1, 2)), Dense(1)], name="keeping")
    kcompile.export_npm(model, tmp_path)
    assert "predict(inputs: [Float32Array]): [Float32Array];" in (tmp_path / "index.d.ts").read_text()
    parts = X.reshape(3, 2, 1, 2)
    lines = node(
        tmp_path,
        f"""
        import {{ load }} from "./node.js";
        const [stream, other] = await load().then((model) => [model.stream(), model.stream()]);
        const parts = {parts.reshape(3, 4).tolist()}.map((part) => Float32Array.from(part));
        const answers = (s) => parts.map((part) => Array.from(s.predict([part])[0]).join(" "));
        const first = answers(stream);
        console.log(first.join("\\n"));
        stream.reset();
        console.log([answers(stream), answers(other)].every((again) => again.join() === first.join()));
        try {{ stream.predict([]); }} catch (error) {{ console.log(error.message); }}
        """,
    )
    for line, part in zip(lines, parts):
        want = model.predict(part, batch_size=2, verbose=0).ravel()
        np.testing.assert_allclose(np.array(line.split(), float), want, rtol=1e-5, atol=1e-6)
    assert lines[3:] == ["true", "expected 1 input(s) in an array"]
    script = (
        'import { load } from "./node.js"; const model = await load();'
        "try { model.stream(); } catch (error) { console.log(error.name); }"
    )
    assert node(made[1], script) == ["TypeError"]


@needs_node
def test_it_trains_in_node_and_in_a_thread(made: tuple[Sequential, Path], tmp_path: Path) -> None:
    """As `train_on_batch` does, with and without weights; the state goes from one to the other."""
    np.random.seed(4)
    model = Sequential([Dense(6, activation="tanh", input_shape=(4,)), Dense(3, activation="softmax")])
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    kcompile.export_npm(model, tmp_path, name="learns", train=True)
    types = (tmp_path / "index.d.ts").read_text()
    assert "export type TrainInputs = [Float32Array, Int32Array, (Float32Array | null)?];" in types
    assert 'Record<"loss" | "acc", number' in types
    assert (
        "trainer.train(1, [new Float32Array(4), new Int32Array(1)])" in (tmp_path / "README.md").read_text()
    )
    y, w = np.array([2, 0, 1], np.int32), np.array([0.5, 1, 2], np.float32)
    lines = node(
        tmp_path,
        f"""
        import {{ load }} from "learns";
        import {{ load as inThread }} from "learns/worker";
        const x = Float32Array.from({X.ravel().tolist()}), y = Int32Array.from({y.tolist()});
        const w = Float32Array.from({w.tolist()});
        const model = await load(), trainer = model.trainer(), remote = await inThread();
        const other = model.trainer(), far = await remote.trainer();
        console.log(trainer.selftest() < 1e-3, await far.selftest() < 1e-3);
        const first = Array.from(model.predict(3, [x])[0]).join(" ");
        for (const given of [[x, y], [x, y, w], [x, y, null]])
          console.log(Object.values(trainer.train(3, given)).join(" "), Object.keys(trainer.state()).length);
        await far.restore(trainer.state());
        const now = [trainer.predict(3, [x]), await far.predict(3, [x]), other.predict(3, [x])];
        for (const [answer] of now) console.log(Array.from(answer).join(" "));
        console.log(first, Array.from(model.predict(3, [x])[0]).join(" ") === first);
        console.log((await far.train(3, [x, y])).loss === trainer.train(3, [x, y]).loss);
        trainer.reset();
        console.log(Array.from(trainer.predict(3, [x])[0]).join(" ") === first);
        y[1] = 7;
        const wrong = [
          () => trainer.train(3, [x, y]), () => trainer.train(3, [x]), () => trainer.train(3, [x, w]),
          () => trainer.restore({{ none: w }}), () => trainer.restore({{ step: w }}),
        ];
        for (const ask of wrong) try {{ ask(); }} catch (error) {{ console.log(error.name, error.message); }}
        remote.close();
        """,
    )
    assert lines[0] == "true true"
    before = model.predict(X, verbose=0).ravel()
    for line, weights in zip(lines[1:4], (None, w, None)):
        loss, accuracy, count = map(float, line.split())
        want = model.train_on_batch(X, y, sample_weight=weights)
        np.testing.assert_allclose([loss, accuracy], want, rtol=1e-5)
        assert count > 10
    assert lines[4] == lines[5]
    after = model.predict(X, verbose=0).ravel()
    for line, want in zip(lines[5:8], (after, before, before)):
        np.testing.assert_allclose(np.array(line.split()[:9], float), want, rtol=1e-4, atol=1e-6)
    assert lines[7].endswith("true") and lines[8:10] == ["true", "true"]
    assert lines[10].startswith("RangeError loss of ") and "from 0 to 2. Received: 7" in lines[10]
    assert [line.split()[0] for line in lines[11:]] == ["TypeError"] * 4
    script = (
        'import { load } from "./node.js"; const model = await load();'
        "try { model.trainer(); } catch (error) { console.log(error.message); }"
    )
    assert node(made[1], script) == ["this model was exported without a training step (train=True)"]


@needs_node
def test_npm_packs_it(made: tuple[Sequential, Path], tmp_path: Path) -> None:
    """And what it packs is whole."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("needs npm")
    command = [npm, "pack", "--offline", "--json", "--pack-destination", tmp_path, made[1]]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=120)
    assert done.returncode == 0, done.stderr
    (archive,) = tmp_path.glob("iris-model-1.2.3-beta.tgz")
    place = tmp_path / "node_modules" / "iris-model"
    shutil.unpack_archive(archive, tmp_path / "unpacked")
    place.parent.mkdir()
    (tmp_path / "unpacked" / "package").rename(place)
    assert {path.name for path in place.iterdir()} == {path.name for path in made[1].iterdir()}
    script = 'import { load } from "iris-model"; console.log((await load()).selftest() < 1e-4);'
    assert node(tmp_path, script) == ["true"]


def test_by_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    iris().save(tmp_path / "m.h5")
    command = ["build", str(tmp_path / "m.h5"), "--npm", str(tmp_path / "made")]
    assert cli.main([*command, "--target", "wasm32", "--name", "@me/mine", "--package-version", "2.0.0"]) == 0
    assert json.loads((tmp_path / "made" / "package.json").read_text())["name"] == "@me/mine"
    assert str(tmp_path / "made") in capsys.readouterr().out
    assert cli.main(command) == 2  # --target is native then
    assert "--target wasm32" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"name": "Upper"}, "a name of npm"),
        ({"name": ".hidden"}, "a name of npm"),
        ({"name": ""}, "a name of npm"),
        ({"version": "1.0"}, "'1.0.0'"),
        ({"batch": 0}, "batch"),
    ],
)
def test_wrong_arguments(given, words: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=words):
        kcompile.export_npm(iris(), tmp_path, **given)
    assert list(tmp_path.iterdir()) == []
