"""What a file of ONNX is put together from: nodes, initializers, and values by the names of their tensors.

Our activations have the channels last, ONNX' convolutions and poolings have them second. So a value may be
known in either order, and the other is made where somebody asks for it: what follows a convolution
element by element stays in its order.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Union

import numpy as np

from kcompile.ir.graph import Graph, Node, Value
from kcompile.ir.types import Batch, Dim, TensorType
from kcompile_runtime.errors import UnsupportedError

BATCH = "batch"  # what the symbolic dim is called
SMALL = 4096  # elements of what is computed from weights ahead, where it is larger than what it is made of


@dataclass
class Step:
    """A node of the file. attributes: values as ONNX has them, or a `Writer` for a body."""

    kind: str
    name: str
    inputs: list[str]
    outputs: list[str]
    attributes: dict[str, Any]


@dataclass
class Form:
    """A value: its array, where that is known now, and the names of its tensor, as it is (`plain`) and with
    its last axis second (`second`)."""

    array: np.ndarray | None = None
    plain: str | None = None
    second: str | None = None


@dataclass(frozen=True)
class Second:
    """The name of a result whose last axis is second."""

    name: str


@dataclass
class File:
    """What all graphs of a file share. batch: the number of samples, where it is fixed. first: steps that
    come before all others. samples: the input that says how many samples there are, the axis, and how
    many elements of it a sample has."""

    batch: int | None
    samples: tuple[str, int, int] | None = None
    first: list[Step] = field(default_factory=list)
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)
    _held: dict[tuple[Any, ...], str] = field(default_factory=dict)
    _sizes: dict[Any, str] = field(default_factory=dict)

    def unused(self, wanted: str) -> str:
        """This name, or it with a number behind."""
        name, number = wanted, 1
        while name in self.taken:
            name, number = f"{wanted}_{number}", number + 1
        self.taken.add(name)
        return name

    def constant(self, array: np.ndarray, wanted: str) -> str:
        """The name of an initializer with these elements."""
        array = np.array(array, order="C")
        key = array.dtype.name, array.shape, array.tobytes()
        if key not in self._held:
            self._held[key] = self.unused(wanted)
            self.arrays[self._held[key]] = array
        return self._held[key]

    def size(self, dim: Dim) -> str:
        """The name of a tensor int64 [1] with this size."""
        if not isinstance(dim, Batch) or self.batch is not None:
            known = dim.at(self.batch) if isinstance(dim, Batch) else dim
            return self.constant(np.array([known], np.int64), f"size_{known}")
        if dim not in self._sizes:
            if dim.multiple == 1:
                assert self.samples is not None
                source, axis, each = self.samples
                name = self._ahead("Shape", [source], start=axis, end=axis + 1)
                if each != 1:
                    name = self._ahead("Div", [name, self.size(each)])
            else:
                name = self._ahead("Mul", [self.size(Batch()), self.size(dim.multiple)])
            self._sizes[dim] = name
        return self._sizes[dim]

    def shape(self, dims: Sequence[Dim]) -> str:
        """The name of a tensor int64 [rank] with these sizes."""
        if self.batch is not None or not any(isinstance(d, Batch) for d in dims):
            known = [d.at(self.batch) if isinstance(d, Batch) else d for d in dims]
            return self.constant(np.array(known, np.int64), "shape")
        key = tuple(dims)
        if key not in self._sizes:
            self._sizes[key] = self._ahead("Concat", [self.size(d) for d in dims], axis=0)
        return self._sizes[key]

    def _ahead(self, kind: str, inputs: list[str], **attributes: Any) -> str:
        name = self.unused(f"{BATCH}/{kind}")
        self.first.append(Step(kind, name, inputs, [name], attributes))
        return name


Made = Union[str, Second, "list[str]", None]
Rule = Callable[["Writer", Node], Made]


class Writer:
    """Steps for the nodes of a graph. known: arrays of its values that do not depend on inputs."""

    def __init__(self, graph: Graph, file: File, known: Mapping[Value, np.ndarray]) -> None:
        self.graph, self.file = graph, file
        self.steps: list[Step] = []
        self.inputs: list[tuple[str, TensorType]] = []
        self.outputs: list[tuple[str, TensorType]] = []
        self.nodes = graph.live()
        self.forms = {value: Form(array=array) for value, array in known.items()}
        self.users = graph.users(self.nodes)
        self.label = ""

    # ---- what rules ask

    def type(self, value: Value) -> TensorType:
        return self.graph.type(value)

    def array(self, value: Value) -> np.ndarray | None:
        """Its elements, where they are known."""
        form = self.forms.get(value)
        return None if form is None else form.array

    def name(self, value: Value) -> str:
        """The name of its tensor."""
        form = self.forms[value]
        if form.plain is None:
            if form.array is not None:
                form.plain = self.constant(form.array)
            else:
                assert form.second is not None
                rank = self.type(value).rank
                form.plain = self.op("Transpose", form.second, perm=[0, *range(2, rank), 1])
        return form.plain

    def second(self, value: Value) -> str:
        """The name of its tensor with the last axis second."""
        form = self.forms[value]
        if form.second is None:
            rank = self.type(value).rank
            if form.array is not None:
                form.second = self.constant(np.moveaxis(form.array, -1, 1))
            else:
                form.second = self.op("Transpose", self.name(value), perm=[0, rank - 1, *range(1, rank - 1)])
        return form.second

    def has_second(self, value: Value) -> bool:
        """Whether its tensor is there with the last axis second alone."""
        form = self.forms[value]
        return form.plain is None and form.second is not None

    def permuted(self, value: Value, axes: Sequence[int]) -> str:
        """The name of its tensor with the axes in another order."""
        array = self.array(value)
        if array is not None:
            return self.constant(array.transpose(axes))
        return str(self.op("Transpose", self.name(value), perm=list(axes)))

    def op(self, kind: str, *inputs: str, results: int = 0, **attributes: Any) -> Any:
        """A new step: the name of its result, or a list of so many."""
        name = self.file.unused("/".join(filter(None, (self.label, kind))))
        outputs = [name, *(self.file.unused(f"{name}.{i}") for i in range(1, results))]
        self.steps.append(Step(kind, name, list(inputs), outputs, attributes))
        return outputs if results else name

    def constant(self, array: np.ndarray) -> str:
        return self.file.constant(array, "/".join(filter(None, (self.label, "const"))))

    def scalar(self, number: Any, dtype: str) -> str:
        return self.file.constant(np.array(number, dtype), f"{dtype}_{number}".replace(" ", ""))

    def ints(self, numbers: Sequence[int]) -> str:
        return self.constant(np.array(numbers, np.int64))

    def reshaped(self, name: str, dims: Sequence[Dim]) -> str:
        """A tensor under another shape, of as many elements."""
        holds = self.file.batch is None and any(isinstance(d, Batch) for d in dims)
        if holds and 0 not in dims:  # the batch is the one size that is not said
            made = self.op("Reshape", name, self.ints([-1 if isinstance(d, Batch) else d for d in dims]))
        else:
            made = self.op("Reshape", name, self.file.shape(dims))
        return str(made)

    def alone(self, value: Value) -> Node | None:
        """The one node that reads a value, where nobody else does."""
        users = self.users.get(value, [])
        return users[0][0] if len(users) == 1 and value not in self.graph.results() else None

    def made_by(self, value: Value, op: str) -> Node | None:
        """The node that makes a value, if it is one of this op that is not computed ahead."""
        node = self.graph.nodes[value.node]
        return node if node.op.name == op and self.array(value) is None else None

    def refused(self, why: str) -> UnsupportedError:
        """The error that says why the node at hand cannot be written, and of which layer it is."""
        return UnsupportedError(f"export: {self.label or self.graph.name}: {why}")

    # ---- translation

    def translate(self, rules: Mapping[str, Rule]) -> None:
        """Make the steps of all nodes."""
        for node in self.nodes:
            values = [Value(node.id, i) for i in range(len(node.types))]
            if all(v in self.forms for v in values):
                continue
            self.label = spelt(node)
            made = rules[node.op.name](self, node)
            if isinstance(made, Second):
                self.forms[values[0]] = Form(second=made.name)
            elif isinstance(made, str):
                self.forms[values[0]] = Form(plain=made)
            elif made is not None:
                self.forms.update((v, Form(plain=name)) for v, name in zip(values, made))
        self.label = ""

    def give(self, value: Value, wanted: str) -> None:
        """A result of the graph."""
        name = self.name(value)
        own = {output for step in self.steps for output in step.outputs}
        if name in own and name not in {output for output, _ in self.outputs}:
            if wanted:
                self.renamed(name, wanted)
                name = wanted
        else:
            fresh = wanted or self.file.unused("result")
            self.steps.append(Step("Identity", self.file.unused("Identity"), [name], [fresh], {}))
            name = fresh
        self.outputs.append((name, self.type(value)))

    def needed(self, names: set[str]) -> set[str]:
        """Drop steps that no result needs. names: what is read from outside. Gives all that is read."""
        names = names | {name for name, _ in self.outputs}
        kept = []
        for step in reversed(self.steps):
            if not names.isdisjoint(step.outputs):
                kept.append(step)
                names.update(step.inputs)
                for inner in step.attributes.values():
                    if isinstance(inner, Writer):
                        names |= inner.needed(set())
        self.steps = kept[::-1]
        return names

    def renamed(self, old: str, new: str) -> None:
        """Give a tensor another name, here and in what is inside."""
        for step in self.steps:
            step.inputs = [new if x == old else x for x in step.inputs]
            step.outputs = [new if x == old else x for x in step.outputs]
            for inner in step.attributes.values():
                if isinstance(inner, Writer):
                    inner.renamed(old, new)
        for form in self.forms.values():
            if form.plain == old:
                form.plain = new


def spelt(node: Node) -> str:
    """The layers of a node as the beginning of a name."""
    names = [re.sub(r"[^\w.:-]", "_", str(source)) for source in node.sources[:3]]
    return "+".join(dict.fromkeys(names))


def known_values(
    graph: Graph, state: Mapping[str, np.ndarray], given: Mapping[Value, np.ndarray] | None = None
) -> dict[Value, np.ndarray]:
    """The values that depend on weights and constants alone, computed by the interpreter's rules. Those that
    are much larger than what they are made of are left to the file. given: those of a region's inputs."""
    found = dict(given or {})
    with np.errstate(all="ignore"):
        for node in graph.live():
            type, value = node.types[0], Value(node.id)
            if node.op.origin == "variable":
                found[value] = np.asarray(state[node.attrs["name"]])
            elif node.op.origin == "constant":
                found[value] = node.attrs["value"].array
            elif _foldable(node, found):
                elements = type.numel
                read = max((found[v].size for v in node.inputs), default=0)
                if isinstance(elements, int) and elements <= max(SMALL, read):
                    made = node.op.numpy(*(found[v] for v in node.inputs), **node.attrs)
                    found[value] = np.asarray(made).astype(type.dtype)
    return found


def _foldable(node: Node, found: Mapping[Value, np.ndarray]) -> bool:
    if node.regions or node.op.kind == "random" or node.op.origin in ("input", "size"):
        return False
    if any(isinstance(d, Batch) for type in node.types for d in type.shape) or len(node.types) != 1:
        return False
    return all(v in found for v in node.inputs)
