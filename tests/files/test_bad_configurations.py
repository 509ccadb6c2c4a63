"""Configurations that are wrong: texts, values, graphs. Each is refused for what it is."""

from __future__ import annotations

import json
import math
import sys
import time
from pathlib import Path
from typing import Any

import crafted
import numpy as np
import pytest
from crafted import config_of, first_dense, functional, layer, refused, write_json

import kcompile
from kcompile.files import model_from_json, reader
from kcompile.files.reader import limits
from kcompile_runtime.errors import KcompileError, ModelError, UnsupportedError

# ---------------------------------------------------------------- JSON


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"a": NaN}', "NaN"),
        ('{"a": -Infinity}', "Infinity"),
        ('{"a": 1e999}', "out of range"),
        ('{"a": 1, "a": 2}', "duplicate key 'a'"),
        ('{"a": 100000000000000000000}', "out of range"),
        ("[" * 5000, "nested at most"),
        ('{"a": ' * 200 + "1" + "}" * 200, "nested at most"),
        ("{", "JSON"),
        ('{"a": "\\ud800"}', "JSON"),
        ("[1, 2]", "the configuration of a model"),
        ('{"b": 1}', "'b'"),
        ('"text"', "the configuration of a model"),
    ],
)
def test_json_that_is_refused(tmp_path: Path, text: str, said: str) -> None:
    refused(write_json(tmp_path / "m.json", text), said)


@pytest.mark.parametrize(
    "text",
    ['"' + '\\"' * 400_000, "{" + ",".join(f'"{k}": 1' for k in range(200_000)) + ', "7": 1}'],
    ids=["quotes", "keys"],
)
def test_json_that_is_slow_to_look_at(tmp_path: Path, text: str) -> None:
    """Quadratic time would be minutes."""
    begun = time.process_time()
    refused(write_json(tmp_path / "m.json", text), "JSON")
    assert time.process_time() - begun < 20


def test_yaml_that_is_slow_to_look_at() -> None:
    begun = time.process_time()
    assert parse("a: " + "1." * 100_000 + "x")["a"].endswith("x")
    assert time.process_time() - begun < 20


def test_json_in_another_encoding(tmp_path: Path) -> None:
    (tmp_path / "m.json").write_bytes('{"a": "ä"}'.encode("latin-1"))
    refused(tmp_path / "m.json", "UTF-8")


def test_json_of_millions_of_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_TEXT", 1000)
    refused(write_json(tmp_path / "m.json", "[" + "1," * 1000 + "1]"), "at most 1000 bytes")


# ---------------------------------------------------------------- YAML


def parse(text: str) -> Any:
    return reader.parse_yaml(text, "text")


@pytest.mark.parametrize(
    "text",
    [
        "!!python/object/apply:os.system ['true']",
        "!!python/name:os.system",
        "a: !!int '3'",
        "a: !x 3",
        "!!python/tuple {a: 1}",
        "&a [*a]",
        "a: &x [1]\nb: *x",
        "a: *x",
        "a: &x {b: 1}\nc: *x",
        "a: no",
        "a: On",
        "a: 010",
        "a: 0x10",
        "a: 1_000",
        "a: 1:30",
        "a: 2020-01-01",
        "a: .nan",
        "a: -.inf",
        "a: 1e999",
        "a: 99999999999999999999",
        "a: 1\na: 2",
        "? [a]\n: b",
        "1: 2",
        "<<: {a: 1}",
        "[" * 2000,
        "- " * 3000 + "a",
        "a: 1\n---\nb: 2",
        "a: [1",
        "\ta: 1",
        "",
    ],
)
def test_yaml_that_is_refused(text: str) -> None:
    with pytest.raises(ModelError, match="expected YAML of plain values"):
        parse(text)


def test_yaml_alias_bomb() -> None:
    lines = ["a: &a !!python/tuple [x, x, x, x]"]
    for k in range(30):
        before = chr(97 + k) if k < 25 else "y"
        lines.append(f"n{k}: &n{k} !!python/tuple [*{before if k == 0 else f'n{k - 1}'}, 1]")
    with pytest.raises(ModelError, match="alias"):
        parse("\n".join(lines))


def test_yaml_with_too_many_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_NODES", 100)
    with pytest.raises(ModelError, match="too many values"):
        parse("[" + "1, " * 200 + "1]")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 1e-3),
        ("1.5e+3", 1500.0),
        (".5", 0.5),
        ("-3", -3),
        ("0", 0),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("'no'", "no"),
        ('"010"', "010"),
        ("2.15.0", "2.15.0"),
        ("relu", "relu"),
        ("y", "y"),
        ("e5", "e5"),
        ("!!python/tuple [3, 3]", [3, 3]),
        ("!!python/unicode 'a'", "a"),
        ("!!str 3", "3"),
    ],
)
def test_yaml_values_have_their_type(text: str, value: Any) -> None:
    found = parse(f"a: {text}")["a"]
    assert found == value and type(found) is type(value)


def test_yaml_as_keras_wrote_tuples() -> None:
    assert parse("a: &id001 !!python/tuple [1, 1]\nb: *id001") == {"a": [1, 1], "b": [1, 1]}


# ---------------------------------------------------------------- configurations


@pytest.mark.parametrize("units", [-1, 0, True, 2.5, "3", None, [3], 10**17])
def test_sizes_out_of_range(tmp_path: Path, units: Any) -> None:
    refused(write_json(tmp_path / "m.json", config_of(first_dense(units=units))), "'d'", "Received")


@pytest.mark.parametrize(
    ("kind", "config"),
    [
        ("MaxNorm", {"max_value": "3"}),
        ("MaxNorm", {"max_value": -1}),
        ("MaxNorm", {"max_value": True}),
        ("MaxNorm", {"max_value": None}),
        ("MaxNorm", {"max_value": 2, "axis": 2.5}),
        ("UnitNorm", {"axis": "0"}),
        ("MinMaxNorm", {"rate": -1.0}),
        ("MinMaxNorm", {"min_value": [0]}),
    ],
)
def test_norms_that_are_none(tmp_path: Path, kind: str, config: dict[str, Any]) -> None:
    constraint = {"class_name": kind, "config": config}
    refused(
        write_json(tmp_path / "m.json", config_of(first_dense(kernel_constraint=constraint))),
        "'d'",
        "Received",
    )


def test_a_size_that_no_integer_holds(tmp_path: Path) -> None:
    refused(write_json(tmp_path / "m.json", config_of(first_dense(units=10**20))), "out of range")


def test_the_memory_budget_is_told_in_bytes(tmp_path: Path) -> None:
    big = config_of(first_dense(units=10**9), layer("Dense", "e", units=10**9))
    refused(write_json(tmp_path / "m.json", big), "at most", "16000000000 bytes")


@pytest.mark.parametrize("shape", [[None, 10**17, 10**17], [10**17, 2], [None, 1 << 31]])
@pytest.mark.parametrize("inside", [False, True])
def test_tensors_that_no_memory_holds(tmp_path: Path, shape: list[Any], inside: bool) -> None:
    flat = layer("Flatten", "f", batch_input_shape=shape)
    if inside:
        flat = {"class_name": "Sequential", "config": {"name": "s", "layers": [flat]}}
    size = 4 * math.prod(d for d in shape if d)
    refused(write_json(tmp_path / "m.json", config_of(flat)), "f", f"{size} bytes", "for a sample")


def test_thousands_of_layers(tmp_path: Path) -> None:
    """In a row, without a stack that overflows, and in time that grows as the model does."""
    entries = [layer("Activation", f"a{i}", activation="relu") for i in range(1500)]
    path = write_json(tmp_path / "m.json", config_of(first_dense(), *entries))
    begun = time.process_time()
    assert len(kcompile.load(path).layers) == 1501
    assert time.process_time() - begun < 60


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"colour": "red"}, "model 'm': the argument colour='red'"),
        ({"trainable": 3}, "trainable"),
        ({"dtype": {"config": {"name": "mixed_float128"}}}, "dtype mixed_float128"),
        ({"dtype": "uint8"}, "dtype uint8"),
    ],
)
def test_arguments_of_models_that_are_refused(tmp_path: Path, config: dict[str, Any], said: str) -> None:
    refused(write_json(tmp_path / "m.json", config_of(first_dense(), **config)), said, error=KcompileError)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"colour": "red"}, "the argument colour='red'"),
        ({"use_bias": "no"}, "expected True or False"),
        ({"use_bias": 2}, "expected True or False"),
        ({"activation": "sing"}, "sing"),
        ({"activation": {"module": "os", "class_name": "system", "config": {"command": "true"}}}, "system"),
        (
            {"kernel_initializer": {"module": "keras.utils", "class_name": "get_file", "config": {}}},
            "get_file",
        ),
        ({"weights": [[1.0]]}, "the argument weights"),
        ({"dtype": "float8_from_mixed_bfloat16"}, "dtype float8_from_mixed_bfloat16. Quantized"),
        (
            {
                "dtype": {
                    "class_name": "QuantizedDTypePolicy",
                    "config": {"mode": "int8", "source_name": "float32"},
                }
            },
            "dtype int8_from_float32. Quantized weights are not supported: use the model as it was before",
        ),
        ({"dtype": {"class_name": "DTypePolicyMap", "config": {"policy_map": {"a": "x"}}}}, "DTypePolicyMap"),
        ({"dtype": {"class_name": "DTypePolicy", "config": {"name": ["float32"]}}}, "dtype"),
        ({"dtype": 16}, "dtype 16"),
    ],
)
def test_arguments_that_are_refused(tmp_path: Path, config: dict[str, Any], said: str) -> None:
    path = write_json(tmp_path / "m.json", config_of(first_dense(**config)))
    refused(path, "'d'", said, error=KcompileError)


def test_unknown_classes_are_all_told_at_once_and_nothing_is_imported(tmp_path: Path) -> None:
    gadget = {**layer("system", "g"), "module": "antigravity"}
    path = write_json(
        tmp_path / "m.json",
        config_of(
            first_dense(),
            layer("GarNet", "a"),
            gadget,
            layer("os.system", "b"),
            layer("Layer", "c"),
            layer("__class__", "e"),
            {**layer("Dense", "f", units=3), "module": "antigravity"},
        ),
    )
    refused(
        path,
        "'a' (GarNet)",
        "'g' (system)",
        "'b'",
        "'c' (Layer)",
        "'e' (__class__)",
        "'f' (Dense)",
        error=UnsupportedError,
    )
    assert "antigravity" not in sys.modules


def test_bytecode_of_a_lambda_is_not_run(tmp_path: Path) -> None:
    path = write_json(
        tmp_path / "m.json",
        config_of(
            first_dense(), layer("Lambda", "twice", function=["4wEAAAA=", None, None], function_type="lambda")
        ),
    )
    refused(
        path, "'twice' (Lambda)", "never run", "custom_objects={'twice': function}", error=UnsupportedError
    )


def test_duplicate_names(tmp_path: Path) -> None:
    refused(
        write_json(tmp_path / "m.json", config_of(first_dense(), layer("Dense", "d", units=2))),
        "several layers called 'd'",
    )


def test_cycles_are_named(tmp_path: Path) -> None:
    path = write_json(
        tmp_path / "m.json",
        functional(
            layer("Dense", "a", [[["b", 0, 0, {}]]], units=4),
            layer("Dense", "b", [[["a", 0, 0, {}]]], units=4),
            layer("Dense", "d", [[["x", 0, 0, {}]]], units=4),
            output="b",
        ),
    )
    refused(path, "a, b")


def test_disconnected_layers_are_named(tmp_path: Path) -> None:
    path = write_json(
        tmp_path / "m.json",
        functional(
            layer("Dense", "d", [[["x", 0, 0, {}]]], units=4),
            layer("Dense", "lost", [[["x", 0, 0, {}]]], units=4),
        ),
    )
    refused(path, "disconnected layers 'lost'")


@pytest.mark.parametrize(
    "place",
    [
        ["nowhere", 0, 0],
        ["x", -1, 0],
        ["x", 0, 10**9],
        ["x", True, 0],
        ["x", 0.5, 0],
        ["x"],
        "x",
        {},
        None,
        ["x", 0, 0, 0],
    ],
)
def test_calls_of_tensors_that_are_not_there(tmp_path: Path, place: Any) -> None:
    path = write_json(tmp_path / "m.json", functional(layer("Dense", "d", [[place]], units=4)))
    refused(path, error=KcompileError)


@pytest.mark.parametrize(
    "broken",
    [
        {"class_name": "Sequential", "config": 3},
        {"class_name": "Sequential"},
        {"class_name": "Sequential", "config": {"layers": [1]}},
        {"class_name": 3, "config": []},
        {"class_name": "Sequential", "config": {"layers": [{"class_name": "Dense", "config": None}]}},
        {"class_name": "Sequential", "config": {"layers": [{"class_name": ["Dense"], "config": {}}]}},
        {"class_name": "Sequential", "config": {"layers": [layer("Dense", "d", units=2)], "name": 3}},
        {"class_name": "Model", "config": {"layers": [], "input_layers": []}},
        {"class_name": "Model", "config": {"layers": [], "input_layers": [], "output_layers": []}},
        {"class_name": "Model", "config": {"layers": [], "input_layers": "x", "output_layers": 3}},
        {"class_name": "Dense", "config": {"units": 3}},
        {"class_name": "Sequential", "config": []},
    ],
)
def test_configurations_of_no_model(tmp_path: Path, broken: Any) -> None:
    try:
        model = kcompile.load(write_json(tmp_path / "m.json", broken))
    except KcompileError:
        return
    assert not model.layers  # a Sequential without layers is one


def test_too_many_layers(tmp_path: Path) -> None:
    path = write_json(
        tmp_path / "m.json", config_of(*(layer("Dense", f"d{i}", units=1) for i in range(10_001)))
    )
    refused(path, "at most 10000 layers")


def test_names_with_odd_characters(tmp_path: Path) -> None:
    for name in ("a\0b", "a\nb", 'quo"te', "*/ }", "int", "../../x"):
        model = kcompile.load(
            write_json(
                tmp_path / "m.json",
                config_of(
                    {
                        "class_name": "Dense",
                        "config": {"name": name, "units": 2, "batch_input_shape": [None, 4]},
                    }
                ),
            )
        )
        assert crafted.predict(model, np.ones((1, 4), np.float32)).shape == (1, 2)


def test_fuzzed_configurations_fail_cleanly(tmp_path: Path) -> None:
    """Any value of a configuration replaced by another: a model, or one of our errors."""
    whole = functional(layer("Dense", "d", [[["x", 0, 0, {}]]], units=4, activation="relu"))
    strange = [None, True, -1, 1e9, "", "x", [], [[]], {}, {"class_name": "x"}, [None, 1]]
    generator = np.random.default_rng(0)

    def places(value: Any) -> list[tuple[Any, Any]]:
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return [
            found
            for key, inner in items
            for found in ([(value, key)] + (places(inner) if isinstance(inner, (dict, list)) else []))
        ]

    for _ in range(400):
        copy = json.loads(json.dumps(whole))
        found = places(copy)
        holder, key = found[int(generator.integers(len(found)))]
        holder[key] = strange[int(generator.integers(len(strange)))]
        try:
            kcompile.load(write_json(tmp_path / "m.json", copy))
        except KcompileError:
            continue


# ---------------------------------------------------------------- one budget for a whole file


def nested(levels: int) -> dict[str, Any]:
    """A model that calls the one inside twice, at each level."""
    start = crafted.layer("InputLayer", "i", [], batch_input_shape=[None, 3], dtype="float32", sparse=False)
    made = {
        "class_name": "Functional",
        "config": {
            "name": "m0",
            "layers": [start, crafted.layer("Dense", "d", [[["i", 0, 0, {}]]], units=3)],
            "input_layers": [["i", 0, 0]],
            "output_layers": [["d", 0, 0]],
        },
    }
    for k in range(levels):
        inner = {**made, "name": f"m{k}", "inbound_nodes": [[["i", 0, 0, {}]], [[f"m{k}", 1, 0, {}]]]}
        made = {
            "class_name": "Functional",
            "config": {
                "name": f"m{k + 1}",
                "layers": [start, inner],
                "input_layers": [["i", 0, 0]],
                "output_layers": [[f"m{k}", 2, 0]],
            },
        }
    return made


def test_models_that_double_the_work_at_each_level() -> None:
    model_from_json(json.dumps(nested(4)))
    for levels in (16, 20):
        with pytest.raises(ModelError, match="layers to run"):
            model_from_json(json.dumps(nested(levels)))
    wrapped = crafted.layer("TimeDistributed", "t", None, layer=nested(20), batch_input_shape=[None, 5, 3])
    with pytest.raises(ModelError, match="layers to run"):
        model_from_json(json.dumps(config_of(wrapped)))


def test_layers_are_counted_in_all_models_of_a_file() -> None:
    def chain(name: str, inside: list[Any]) -> dict[str, Any]:
        return {"class_name": "Sequential", "config": {"name": name, "layers": inside}}

    inside = [crafted.layer("Activation", f"a{k}", None, activation="relu") for k in range(101)]
    with pytest.raises(ModelError, match="10000 layers"):
        model_from_json(json.dumps(chain("outer", [chain(f"m{i}", inside) for i in range(100)])))


def test_calls_are_counted() -> None:
    start = crafted.layer("InputLayer", "i", [], batch_input_shape=[None, 2], dtype="float32", sparse=False)
    called = crafted.layer("Dense", "d", [[["i", 0, 0, {}]]] * 20_000, units=2)
    with pytest.raises(ModelError, match="calls of layers"):
        model_from_json(
            json.dumps(
                {
                    "class_name": "Functional",
                    "config": {
                        "name": "m",
                        "layers": [start, called],
                        "input_layers": [["i", 0, 0]],
                        "output_layers": [["d", 0, 0]],
                    },
                }
            )
        )


def test_a_call_of_keras_3_is_counted_from_zero_but_as_an_output(tmp_path: Path) -> None:
    """`Functional.get_config` of Keras 3: inbound nodes count the calls of a model inside from 0,
    output_layers from 1, but for a Sequential."""

    def model(kind: str, first: int) -> dict[str, Any]:
        def three(name: str, *calls: str, cls: str = "Dense", **config: Any) -> dict[str, Any]:
            return {
                "module": "keras.layers",
                "class_name": cls,
                "config": {"name": name, **config},
                "registered_name": None,
                "name": name,
                "inbound_nodes": [
                    {
                        "args": [
                            {
                                "class_name": "__keras_tensor__",
                                "config": {
                                    "shape": [None, 2],
                                    "dtype": "float32",
                                    "keras_history": [x, 0, 0],
                                },
                            }
                        ],
                        "kwargs": {},
                    }
                    for x in calls
                ],
            }

        ends = [three(n, cls="InputLayer", batch_shape=[None, 2], dtype="float32") for n in "ab"]
        inside = [
            three("c", cls="InputLayer", batch_shape=[None, 2], dtype="float32"),
            three("d", "c", units=2, use_bias=False),
        ]
        places = (
            {} if kind == "Sequential" else {"input_layers": [["c", 0, 0]], "output_layers": [["d", 0, 0]]}
        )
        inner = {**three("inner", "a", "b", cls=kind, layers=inside, **places)}
        return {
            "module": "keras",
            "class_name": "Functional",
            "registered_name": None,
            "config": {
                "name": "m",
                "layers": [*ends, inner],
                "input_layers": [["a", 0, 0], ["b", 0, 0]],
                "output_layers": [["inner", first, 0], ["inner", first + 1, 0]],
            },
        }

    for kind, first in (("Functional", 1), ("Sequential", 0)):
        made = model_from_json(json.dumps(model(kind, first)))
        made.set_weights([2 * np.eye(2)])
        a, b = crafted.predict(made, np.ones((1, 2), "float32"), np.full((1, 2), 3, "float32"))
        assert (a[0, 0], b[0, 0]) == (2, 6)
