"""Passes and code generators ask an op's record what they need to know, and do not compare its name.

`compared` finds by their syntax the places where they do. Each that is meant is in NAMED, with its reason.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import kcompile
from kcompile.ir import ops
from kcompile.ir.op import OPS

assert ops  # importing it registers the records

ROOT = Path(kcompile.__file__).parent
MOST = 20
# file: comparison -> why it is about this op and no other. Twice: with the number of places.
NAMED = {
    'tensorflow/places.py: node.op.name in ("reshape", "broadcast_to", "cast")': "each keeps its place",
    'codegen/cpu/backend.py: anchor.op.name == "winograd"': "an algorithm with a kernel of its own",
    'codegen/cpu/scatter.py: scatter.op.name == "first_occurrence"': "positions are found, where others add",
    'ir/indices.py: node.op.name == "cast"': "a check reads the numbers that were cast to int32",
    'ir/passes/compact_scatters.py: node.op.name == "scatter_rows"': "what the pass is about",
    'ir/passes/fusion/producers.py: node.op.name == "pack_panels"': "panels have an order of their own",
    'ir/passes/quantize_products.py: node.op.name == "minimum"': "what the last byte cuts off",
    'ir/passes/quantize_products.py: node.op.name == "relu"': "what the first byte cuts off",
    'ir/passes/use_winograd.py: node.op.name != "conv"': "what the pass is about",
    'ir/ops/contraction.py: found.op.name != "pad"': "zeros around an operand become the convolution's own",
    "to_onnx/__init__.py: node.op.name not in RULES": "a rule for each op, by its name",
    "to_onnx/writer.py: rules[node.op.name]": "the same",
    "to_onnx/writer.py: node.op.name == op": "a softmax, which ONNX has as one node",
    "keras/operands.py: node.op.name in _SAME_ELEMENTS": "sizes are looked for in what arranges them alone",
    'keras/operands.py: node.op.name == "concatenate"': "the same, of several parts",
    'keras/crossentropy.py: node.op.name == "sigmoid"': "what a loss finds behind probabilities",
    'keras/sparse_gradients.py: node.op.name == "scatter_rows"': "what the module is about",
}


def _is_name_of_op(e: ast.AST, aliases: set[str], bare: bool) -> bool:
    """Whether an expression is `node.op.name`, a local name of it, or, with `bare`, `node.op`."""
    if isinstance(e, ast.Attribute) and e.attr == "name":
        return isinstance(e.value, ast.Attribute) and e.value.attr == "op"
    return (bare and isinstance(e, ast.Attribute) and e.attr == "op") or (
        isinstance(e, ast.Name) and e.id in aliases
    )


def _asks_trait(e: ast.AST) -> bool:
    """Whether an expression is `op.origin`, or a local name called so."""
    return "origin" in (getattr(e, "attr", None), getattr(e, "id", None))


def _names_ops(e: ast.AST) -> bool:
    """Whether an expression is the name of an op, or a display of nothing else."""
    if isinstance(e, (ast.Tuple, ast.List, ast.Set)):
        return bool(e.elts) and all(map(_names_ops, e.elts))
    if isinstance(e, ast.Dict):
        return bool(e.keys) and all(k is not None and _names_ops(k) for k in e.keys)
    return isinstance(e, ast.Constant) and e.value in OPS


def _aliases(scope: ast.AST, bare: bool) -> set[str]:
    """Local names that stand for an op or the name of one."""
    found: set[str] = set()
    for s in ast.walk(scope):
        if isinstance(s, ast.Assign):
            for target in s.targets:
                pairs = [(target, s.value)]
                if isinstance(target, ast.Tuple) and isinstance(s.value, ast.Tuple):
                    pairs = list(zip(target.elts, s.value.elts))
                found |= {
                    t.id for t, v in pairs if isinstance(t, ast.Name) and _is_name_of_op(v, set(), bare)
                }
    return found


def compared(text: str, strings: bool) -> Iterator[tuple[int, str]]:
    """(line, source) of comparisons, lookups and tables by the names of ops. `strings`: any string that
    is the name of an op counts, and an `op` beside any string; the loop language has operations called
    alike, and there only `op.name` does."""
    tree = ast.parse(text)
    aliases = _aliases(tree, strings)
    for e in ast.walk(tree):
        hit = False
        if isinstance(e, ast.Compare):
            sides = [e.left, *e.comparators]
            ours = [side for side in sides if _is_name_of_op(side, aliases, strings)]
            both = len(ours) == len(sides)  # `a.op is b.op` names none
            nothing = any(isinstance(side, ast.Constant) and side.value is None for side in sides)
            other = any(_asks_trait(side) for side in sides)  # whose values may be called like ops
            hit = (bool(ours) and not both and not nothing) or (
                strings and not other and any(map(_names_ops, sides))
            )
        elif isinstance(e, ast.Subscript):
            hit = _is_name_of_op(e.slice, aliases, strings)
        elif isinstance(e, ast.Call) and isinstance(e.func, ast.Attribute) and e.func.attr == "get":
            hit = any(_is_name_of_op(a, aliases, strings) for a in e.args)
        elif isinstance(e, ast.Assign) and strings:
            hit = not isinstance(e.value, ast.Constant) and _names_ops(e.value)
        if hit:
            yield e.lineno, ast.get_source_segment(text, e) or ""


def found() -> Counter[str]:
    made: Counter[str] = Counter()
    for path in sorted(ROOT.rglob("*.py")):
        place = path.relative_to(ROOT).as_posix()
        strings = place.startswith("ir/") and not place.startswith("ir/ops/")
        for _, source in compared(path.read_text(), strings):
            made[f"{place}: {' '.join(source.split())}"] += 1
    return made


def test_names_of_ops_that_remain_have_a_reason() -> None:
    made = found()
    assert not set(made) - set(NAMED), "ask a trait of the record (kcompile.ir.op.Op)"
    assert not set(NAMED) - set(made), "these are gone: take them out of the list"
    assert made.total() <= MOST


def test_a_comparison_in_any_form_is_found() -> None:
    for text in (
        'x = node.op.name == "add"',
        'x = node.op.name not in ("add", "sub")',
        'def f(node):\n    name, type = node.op.name, node.types[0]\n    return name == "add"',
        "x = TABLE[node.op.name]",
        "x = TABLE.get(node.op.name)",
        '_FREE = ("iota", "extent")',
        '_NEUTRAL = {"add": 0.0}',
        'def f(op):\n    return op == "mul"',
        'x = node.op is OPS["add"]',
    ):
        assert len(list(compared(text, True))) == 1, text
    for text in ("x = a.op is b.op", 'x = node.op.origin == "input"', 'x = node.op.kind == "reduction"'):
        assert not list(compared(text, True)), text
