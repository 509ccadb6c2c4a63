"""What a compilation tells of itself (KC_DEBUG, KC_DUMP, `show`), and how errors in passes are told."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ir.pass_targets import Plain
from ir.scans import counting

import kcompile
from kcompile import cli, stages
from kcompile.codegen import targets
from kcompile.compiler import compile_graph
from kcompile.ir import ops, passes
from kcompile.ir.graph import Graph, Node, Source, Value
from kcompile.ir.passes import Pass, PassError
from kcompile.ir.rewrite import rebuild
from kcompile.ir.tensor import Tensor
from kcompile.ir.types import Batch, TensorType
from kcompile.keras import graphs, layers, models
from kcompile_runtime.debug import Log, debug_level, file_name
from kcompile_runtime.errors import InputError

X = np.ones((2, 3), np.float32)


@pytest.fixture
def model() -> Any:
    made = models.Sequential([layers.Dense(4, activation="tanh", input_shape=(3,), name="look")])
    made.compile("adam", "mse")
    return made


def told(model: Any, monkeypatch: pytest.MonkeyPatch, capsys: Any, level: int) -> str:
    monkeypatch.setenv("KC_DEBUG", str(level))
    capsys.readouterr()
    kcompile.compile(model).predict_on_batch(X)
    out, err = capsys.readouterr()
    assert out == ""
    return str(err)


# what each level adds: a sign of it on stderr
SIGNS = {
    2: r"^kcompile: predict-native: pass fuse: [\d.]+ ms$",
    3: r"^kcompile: predict-native: simplify\.2\ngraph ",
    4: r"^kcompile: predict-native: loops\n",
    5: r"^define i32",
}


@pytest.mark.parametrize("level", range(6))
def test_each_level_tells_what_those_below_it_do_and_more(
    model: Any, monkeypatch: pytest.MonkeyPatch, capsys: Any, level: int
) -> None:
    for _ in range(2):  # also where the code is in the cache
        text = told(model, monkeypatch, capsys, level)
        found = {at for at, sign in SIGNS.items() if re.search(sign, text, re.MULTILINE)}
        assert found == {at for at in SIGNS if at <= level}
    assert (text == "") == (level < 2)


@pytest.mark.parametrize("text", ["6", "-1", "yes", "2.0", "0x1"])
def test_other_levels_are_refused(
    text: str, model: Any, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setenv("KC_DEBUG", text)
    with pytest.raises(
        InputError, match=f"KC_DEBUG: expected a whole number from 0 to 5. Received: '{text}'"
    ):
        kcompile.compile(model).predict_on_batch(X)
    assert cli.main(["show", "none.json"]) == 2
    assert capsys.readouterr().err.startswith("kcompile: error: KC_DEBUG: expected")


def test_without_a_level_it_is_0(monkeypatch: pytest.MonkeyPatch) -> None:
    for text in ("", " ", "0"):
        monkeypatch.setenv("KC_DEBUG", text)
        assert debug_level() == 0 and not Log.of("x").tells


# ---------------------------------------------------------------- KC_DUMP


def test_a_dump_has_a_numbered_file_for_each_stage(
    model: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Any
) -> None:
    monkeypatch.setenv("KC_DUMP", str(tmp_path / "made" / "dump"))
    compiled = kcompile.compile(model)
    compiled.predict_on_batch(X)
    compiled.train_on_batch(X, np.ones((2, 4), np.float32))
    assert capsys.readouterr().err == ""
    folders = sorted((tmp_path / "made" / "dump").iterdir())
    assert [folder.name for folder in folders] == ["0001-predict-native", "0002-train-native"]
    for folder, entry in zip(folders, ("predict", "train")):
        made = compiled.engine.compiled(entry)
        stages = ["graph", *(step.name for step in made.passes), "loops", "llvm", "asm"]
        stages.insert(stages.index("fuse"), "fuse.plan")
        files = sorted(folder.iterdir())
        assert [path.stem for path in files] == [f"{i:02}-{stage}" for i, stage in enumerate(stages, 1)]
        assert files[0].read_text() == made.graph.text() + "\n"
        assert files[stages.index("fuse.plan")].read_text() == made.fusion_plan + "\n"
        assert files[-4].read_text() == passes.text((made.prepare, made.run)) + "\n"
        assert "define i32" in files[-2].read_text() and ".text" in files[-1].read_text()


@pytest.mark.parametrize("target", ["native", "x86-64-v2", "wasm32"])
def test_an_export_is_dumped_with_its_code(
    model: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, target: str
) -> None:
    compiled = kcompile.compile(model)
    monkeypatch.setenv("KC_DUMP", str(tmp_path / "dump"))
    kcompile.export(compiled, tmp_path / ("model.wasm" if target == "wasm32" else "model.so"), target=target)
    (folder,) = (tmp_path / "dump").glob(f"*-predict-{target}")
    assert [len(list(folder.glob(f"*-{name}"))) for name in ("loops.txt", "llvm.ll", "asm.s")] == [1, 1, 1]


def test_names_of_files_are_harmless(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert [file_name(text) for text in ("../../etc", "a/b\\c", "..", "x\0y\n", "é", "-rf", "a" * 300)] == [
        "_.._etc",
        "a_b_c",
        "unnamed",
        "x_y_",
        "_",
        "rf",
        "a" * 80,
    ]
    monkeypatch.setenv("KC_DUMP", str(tmp_path))
    compile_graph(counting(), "../../up", targets.native(), frozen=True).run  # noqa: B018
    assert [path.name for path in tmp_path.iterdir()] == ["0001-_.._up-native"]


def test_compilations_do_not_share_a_folder(tmp_path: Path) -> None:
    (tmp_path / "0007-predict").mkdir()
    (tmp_path / "notes").mkdir()
    for _ in range(2):
        Log("predict", 0, tmp_path).text("graph", 3, lambda: "text")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "0007-predict",
        "0008-predict",
        "0009-predict",
        "notes",
    ]


def test_a_dump_that_cannot_be_written_is_an_error(
    model: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("KC_DUMP", str(tmp_path / "file"))
    with pytest.raises(InputError, match="KC_DUMP: expected a folder that can be written to"):
        kcompile.compile(model).predict_on_batch(X)


# ---------------------------------------------------------------- show


def test_show_has_every_entry_target_and_pass(model: Any) -> None:
    compiled = kcompile.compile(model)
    for entry in ("predict", "test", "train"):
        made = compiled.engine.compiled(entry)
        for step in made.passes:
            assert compiled.show(entry=entry, after=step.name) == passes.text(made.after(step.name))
    assert "update look/kernel" in compiled.show("graph", "train")
    assert 'target triple = "aarch64' in compiled.show("llvm", target="aarch64")
    assert ".target sm_90a" in compiled.show("ptx", "train", target="sm_90a")
    assert "matmul(" in compiled.show(after="simplify") and "contract(" in compiled.show(target="sm_80")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"after": "simplfy"},
            "after: expected one of check_indices, simplify, .*stage, fuse, chain_rows. Received: 'simpl",
        ),
        ({"after": "merge_scans"}, "after: expected one of"),  # it is not run for predictions
        ({"after": "fuse", "stage": "loops"}, "after: expected none for this stage"),
        ({"target": "z80", "stage": "graph"}, "target: expected one of: native, "),
        ({"target": "z80"}, "target: expected one of: native, .*sm_80.* Received: 'z80'"),
        ({"stage": "ptx", "target": "aarch64"}, "target: expected a graphics processor"),
        ({"entry": "fit"}, "graph: expected one of predict, test, train. Received: 'fit'"),
        ({"entry": ["fit"]}, "graph: expected one of predict, test, train"),
    ],
)
def test_show_refuses_other_names(model: Any, options: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        kcompile.compile(model).show(**options)


def test_the_command_shows_the_same(model: Any, tmp_path: Path, capsys: Any) -> None:
    path = str(tmp_path / "model.h5")
    model.save(path)
    compiled = kcompile.compile(kcompile.load(path))

    def shown(*arguments: str) -> str:
        assert cli.main(["show", path, *arguments]) == 0
        return str(capsys.readouterr().out)

    assert shown("--after", "stage") == compiled.show(after="stage") + "\n"
    assert "update " in shown("--entry", "train", "--after", "factor_sums")
    assert cli.main(["show", path, "--after", "soup"]) == 2
    assert "after: expected one of check_indices" in capsys.readouterr().err
    assert cli.main(["show", path, "--target", "soup", "--stage", "llvm"]) == 2
    assert "target: expected one of" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        cli.main(["show", path, "--entry", "soup"])


def test_the_readme_has_every_variable_that_is_read(root: Path) -> None:
    sources = [
        path.read_text() for folder in ("kcompile", "runtime") for path in (root / folder).rglob("*.py")
    ]
    read = set(re.findall(r'environ(?:\.get\(|\[)"(K\w+)"', "\n".join(sources)))
    table = re.findall(r"^\| `(K\w+)` \|", (root / "README.md").read_text(), re.MULTILINE)
    assert read - {"KERAS_HOME"} == set(table) and len(table) == len(set(table)) >= 6  # that is Keras' own
    assert all(name.startswith("KC_") for name in table)


# ---------------------------------------------------------------- errors in passes


def broken(graph: Graph) -> Graph:
    def rule(new: Graph, node: Node, inputs: tuple[Value, ...]) -> None:
        if node.op.name == "tanh":
            raise KeyError("slot")

    return rebuild(graph, rule)


def wrong(graph: Graph) -> Graph:
    made = rebuild(graph, lambda *_: None)
    object.__setattr__(made.nodes[1], "types", (TensorType((7,)),))
    return made


def small() -> Graph:
    graph = Graph("small")
    x = Tensor(graph, graph.input("x", TensorType((Batch(), 3))))
    with graph.source(Source("dense_1")):
        graph.outputs["y"] = ops.tanh(x).value
    return graph


def test_an_error_in_a_pass_names_pass_node_and_layer() -> None:
    with pytest.raises(PassError, match=r"pass broken: node %1 tanh \(dense_1\): KeyError: 'slot'") as caught:
        passes.run_passes(small(), [Pass("broken", broken)])
    assert isinstance(caught.value.__cause__, PassError)


def test_an_error_in_a_region_names_its_node() -> None:
    outer = Graph("outer")
    inner = small()
    x = outer.input("x", TensorType((Batch(), 3)))
    outer.outputs["y"] = Value(outer.add("group", [x], regions=(inner,)).id)
    with pytest.raises(PassError, match=r"pass broken: node %1 tanh \(dense_1\)"):
        passes.run_passes(outer, [Pass("broken", broken)])
    passes.run_passes(outer, [Pass("broken", broken, regions=False)])


def test_what_the_verifier_finds_names_the_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PassError, match=r"pass wrong: ValueError: small: node %1 tanh \(dense_1\): type is"):
        passes.run_passes(small(), [Pass("wrong", wrong)])
    monkeypatch.setenv("KC_VERIFY", "0")
    passes.run_passes(small(), [Pass("wrong", wrong)])


def test_passes_of_one_name_are_numbered() -> None:
    for frozen in (True, False):
        made = [step.name for step in passes.pipeline(Plain(), frozen)]
        assert len(set(made)) == len(made) and {"simplify", "simplify.2", "simplify.3"} <= set(made)
        assert [step.name for step in passes.until(passes.pipeline(Plain(), frozen), "simplify.2")][-1] == (
            "simplify.2"
        )
    assert "check_indices" not in [step.name for step in passes.pipeline(Plain(guards=False), True)]


def test_entries_are_those_that_are_traced() -> None:
    assert graphs.ENTRIES == stages.ENTRIES
