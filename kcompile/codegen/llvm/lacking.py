"""What some processors have no instructions for: calls of functions of our own in their place.

Enters: LLVM IR text for a target that lacks something (`Target.lacks`). Leaves: text with calls, and the
functions that they name (`lacking.ll`; of vectors, lane by lane). LLVM would call a compiler's or a C
library's functions instead, which a program without an operating system need not have. All results are those
of the instructions.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from kcompile.codegen.llvm.template import filled


@dataclass(frozen=True)
class Rule:
    """An instruction, as LLVM writes it, and the function in its place. {r}, {a}: types of its result and of
    its operands; {mr}, {ma}: how they are called in names of intrinsics; {x}, {y}: the operands."""

    instruction: str
    function: str
    operand: str
    result: str


_OPERAND = r"%[\w.]+|splat \([^)]*\)|<[^>]*>|[^\s,()]+"
_BITS = {"i64": "i64", "float": "f32", "double": "f64"}


def _type(kind: str, vector: bool) -> str:
    return f"<(?P=n) x {kind}>" if vector else kind


def _mangled(kind: str, vector: bool) -> str:
    return f"v(?P=n){_BITS[kind]}" if vector else _BITS[kind]


@cache
def _pattern(rule: Rule, vector: bool) -> re.Pattern[str]:
    words = {
        "r": _type(rule.result, vector),
        "a": _type(rule.operand, vector),
        "mr": _mangled(rule.result, vector),
        "ma": _mangled(rule.operand, vector),
        "x": f"(?P<x>{_OPERAND})",
        "y": f"(?P<y>{_OPERAND})",
    }
    parts = re.split(r"\{(\w+)\}", rule.instruction)
    text = "".join(words[p] if i % 2 else re.escape(p) for i, p in enumerate(parts))
    return re.compile("= " + text.replace("(?P=n)", r"(?P<n>\d+)", 1))


# What is lacking. wide: division of 64-bit integers, conversions between them and float32. floor: of float32.
# float64: all of it; of what code for float32 has of it, a fixed-point number far from zero that becomes an
# angle. float32: a floating-point unit; its sums and products are functions that each compiler for the
# processor brings (`__aeabi_fadd`, ...).
KINDS: dict[str, tuple[Rule, ...]] = {
    "wide": (
        *(
            Rule(f"{sign}{op} {{a}} {{x}}, {{y}}", f"kc_{sign}{op}", "i64", "i64")
            for sign in "su"
            for op in ("div", "rem")
        ),
        *(Rule(f"{s}itofp {{a}} {{x}} to {{r}}", f"kc_{s}i64_to_f32", "i64", "float") for s in "su"),
        *(
            Rule(
                f"call {{r}} @llvm.fpto{s}i.sat.{{mr}}.{{ma}}({{a}} {{x}})",
                f"kc_f32_to_{s}i64",
                "float",
                "i64",
            )
            for s in "su"
        ),
    ),
    "floor": (Rule("call {r} @llvm.floor.{ma}({a} {x})", "kc_floor", "float", "float"),),
    "float64": (
        Rule("sitofp {a} {x} to {r}", "kc_si64_to_f64", "i64", "double"),
        Rule("fmul {a} {x}, {y}", "kc_fmul_f64", "double", "double"),
        Rule("fptrunc {a} {x} to {r}", "kc_f64_to_f32", "double", "float"),
        Rule("fpext {a} {x} to {r}", "kc_f32_to_f64", "float", "double"),
    ),
    "float32": (
        Rule("call {r} @llvm.sqrt.{ma}({a} {x})", "kc_sqrt", "float", "float"),
        Rule("call {r} @llvm.maximum.{ma}({a} {x}, {a} {y})", "kc_maximum", "float", "float"),
    ),
}
_CALLED = re.compile(r"@(kc_\w+)\(")


def without(text: str, lacks: tuple[str, ...]) -> str:
    """The text of a whole module without these `KINDS` of instructions."""
    lanes: dict[tuple[int, Rule], None] = {}
    for rule in (rule for kind in lacks for rule in KINDS[kind]):

        def call(found: re.Match[str], rule: Rule = rule) -> str:
            n = found.groupdict().get("n")
            if n is not None:
                lanes[int(n), rule] = None
            operand, result = (
                kind if n is None else f"<{n} x {kind}>" for kind in (rule.operand, rule.result)
            )
            given = [found["x"], *([found["y"]] if "{y}" in rule.instruction else [])]
            arguments = ", ".join(f"{operand} {x}" for x in given)
            return f"= call {result} @{rule.function}{'' if n is None else f'_v{n}'}({arguments})"

        for vector in (False, True):
            text = _pattern(rule, vector).sub(call, text)
    text = "\n".join([text, *(_by_lanes(n, rule) for n, rule in lanes)])
    wanted, known = [text], _functions()
    needed: set[str] = set()
    while wanted:
        found = set(_CALLED.findall(wanted.pop())) & known.keys() - needed
        needed |= found
        wanted += [known[name] for name in sorted(found)]
    return "\n".join([text, *(known[name] for name in sorted(needed))])


def _by_lanes(n: int, rule: Rule) -> str:
    """The function of vectors."""
    names = "xy" if "{y}" in rule.instruction else "x"
    return "\n".join(_lines_by_lanes(n, rule, names))


def _lines_by_lanes(n: int, rule: Rule, names: str) -> Iterator[str]:
    result = f"<{n} x {rule.result}>"
    parameters = ", ".join(f"<{n} x {rule.operand}> %{x}" for x in names)
    yield f"define linkonce_odr hidden {result} @{rule.function}_v{n}({parameters}) nounwind {{"
    for i in range(n):
        for x in names:
            yield f"  %{x}{i} = extractelement <{n} x {rule.operand}> %{x}, i64 {i}"
        given = ", ".join(f"{rule.operand} %{x}{i}" for x in names)
        yield f"  %f{i} = call {rule.result} @{rule.function}({given})"
        before = "poison" if i == 0 else f"%r{i - 1}"
        yield f"  %r{i} = insertelement {result} {before}, {rule.result} %f{i}, i64 {i}"
    yield f"  ret {result} %r{n - 1}\n}}"


@cache
def _functions() -> dict[str, str]:
    """The definitions by name."""
    text = filled(Path(__file__).with_name("lacking.ll"))
    found = {}
    for part in re.split(r"(?m)^(?=define )", text)[1:]:
        match = _CALLED.search(part)
        assert match is not None
        found[match[1]] = part[: part.index("\n}") + 3]
    return found
