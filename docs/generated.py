"""What no hand writes: parts of pages that are made of the program itself, whenever the site is built.

A page says `<!-- generated: NAME -->` on a line of its own; NAME is one of `PARTS`, and the function there
gives the text, in Markdown. A Sphinx extension: `setup` is called by Sphinx alone.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
_SPECIAL = re.compile(r"[*|\\]|(?<=\w)_(?!\w)")  # what means something in reStructuredText
MARK = re.compile(r"^<!-- generated: (\S+) -->$", re.MULTILINE)


# What methods of a compiled model give; no package offers these classes by itself
RESULTS = (
    "kcompile.native.Verification",
    "kcompile.native.LayerError",
    "kcompile.profiling.Profile",
    "kcompile.profiling.KernelTime",
    "kcompile.accuracy.Accuracy",
    "kcompile.accuracy.OutputAccuracy",
    "kcompile.quantization.Report",
    "kcompile.quantization.QuantizedLayer",
)


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table in Markdown, of cells without line breaks."""
    cells = [list(head), *(list(row) for row in rows)]
    lines = [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in cells]
    return "\n".join([lines[0], f"|{'---|' * len(cells[0])}", *lines[1:]])


def sentence(text: str | None) -> str:
    """The first sentence of a docstring, on one line."""
    first = " ".join((text or "").strip().partition("\n\n")[0].split())
    return re.split(r"(?<=[.:]) (?=[A-Z])", first)[0].replace("<", "&lt;").replace("*", "&#42;")


# ---------------------------------------------------------------- Python


def described(module: ModuleType, skip: Iterable[str] = ()) -> str:
    """What a module offers, by its docstrings: functions, classes with their methods, and values."""
    parts = []
    for name in sorted(set(module.__all__) - set(skip), key=str.lower):
        value = getattr(module, name)
        if isinstance(value, type) and issubclass(value, BaseException):
            parts.append(directive("autoexception", f"{module.__name__}.{name}", ":show-inheritance:"))
        elif isinstance(value, type):
            options = (":members:", ":special-members: __call__")
            parts.append(directive("autoclass", f"{module.__name__}.{name}", *options))
        elif callable(value):
            parts.append(directive("autofunction", f"{module.__name__}.{name}"))
    return "\n\n".join(parts)


def directive(kind: str, name: str, *options: str) -> str:
    lines = [f".. {kind}:: {name}", *(f"   {option}" for option in options)]
    return "\n".join(["```{eval-rst}", *lines, "```"])


def package(name: str) -> Callable[[], str]:
    return lambda: described(import_module(name))


def results() -> str:
    """The classes of what methods of a compiled model give."""
    return "\n\n".join(directive("autoclass", name, ":members:") for name in RESULTS)


def errors() -> str:
    """All errors, each below what it is a kind of."""
    from kcompile_runtime import errors as module

    found = [v for v in vars(module).values() if isinstance(v, type) and issubclass(v, module.KcompileError)]
    rows = []
    for kind in found:
        above = [base.__name__ for base in kind.__bases__]
        rows.append((f"`{kind.__name__}`", ", ".join(f"`{name}`" for name in above), sentence(kind.__doc__)))
    return table(("error", "is a", "of what"), rows)


# ---------------------------------------------------------------- the command line


def command_line() -> str:
    """Every command: what it is for, how it is called, its arguments; and the exit statuses."""
    from kcompile import cli

    top = cli.parser()
    (commands,) = (a for a in top._actions if isinstance(a, argparse._SubParsersAction))
    helps = {action.dest: action.help or "" for action in commands._choices_actions}
    parts = [
        table(("command", "what it does"), ((f"[`{n}`](#kcompile-{n})", helps[n]) for n in commands.choices))
    ]
    for name, command in commands.choices.items():
        usage = " ".join(command.format_usage().partition("usage: ")[2].split())
        about = helps[name]
        parts.append(f"## kcompile {name}\n\n{about[:1].upper()}{about[1:]}.\n\n```text\n{usage}\n```")
        parts.append(table(("argument", "meaning"), arguments(command)))
    statuses = table(("status", "meaning"), ((f"`{n}`", text) for n, text in cli.STATUSES.items()))
    return "\n\n".join([*parts, "## Exit status", statuses, sentence_case(cli.OF_RUN)])


def sentence_case(text: str) -> str:
    text = text.strip()
    return text[:1].upper() + text[1:]


def arguments(command: argparse.ArgumentParser) -> Iterator[tuple[str, str]]:
    """The names and values of each argument, and what it means."""
    formatter = command._get_formatter()
    for action in command._actions:
        if isinstance(action, argparse._HelpAction):
            continue
        if action.option_strings:
            default = formatter._get_default_metavar_for_optional(action)
        else:
            default = formatter._get_default_metavar_for_positional(action)
        value = formatter._format_args(action, default)
        names = " ".join([", ".join(action.option_strings), value]).strip()
        yield f"`{names}`", formatter._expand_help(action) if action.help else ""


def environment() -> str:
    """The table of the README."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.search(r"^\| variable \|.*?(?=\n\n)", text, re.MULTILINE | re.DOTALL)
    if found is None:
        raise ValueError("README.md has no table of variables of the environment")
    return found[0]


# ---------------------------------------------------------------- C


def c_header() -> str:
    """The header that `kcompile.export` writes beside a model with an input of 20 numbers and 10 outputs."""
    from kcompile.codegen import targets
    from kcompile.codegen.binary.artifact import header
    from kcompile.codegen.binary.exported import Model, Sample, Tensor
    from kcompile.codegen.program import Entry, Program
    from kcompile.ir.types import Batch, TensorType

    n = Batch()
    x, y = (Tensor(name, TensorType((n, size), "float32")) for name, size in (("x", 20), ("y", 10)))
    nothing: Any = None
    program: Program = nothing
    model = Model("model", program, (x,), (y,), b"", (), Sample(0, (), ()), None)
    text = header(model, Entry("predict", ()), targets.named("x86-64-v3"))
    text = text.replace("\n   0 + n * 0 bytes. */", " a part. */")
    return f"```c\n{text.strip()}\n```"


# ---------------------------------------------------------------- layers


def layers() -> str:
    """All layers: in which Keras they are, and what the tests try of them; then those that are refused."""
    from options import TABLE

    from kcompile import keras, keras3, tf_keras
    from kcompile.keras.layers.elsewhere import __all__ as refused

    names = json.loads((ROOT / "tests" / "front_end" / "keras2_names.json").read_text())["layers"]
    kinds: dict[type, list[str]] = {}
    for name in keras.layers.__all__:
        value = getattr(keras.layers, name)
        if isinstance(value, type) and name not in refused:
            kinds.setdefault(value, []).append(name)
    rows = []
    for kind, called in sorted(kinds.items(), key=lambda item: item[1][0].lower()):
        first, *others = sorted(called, key=lambda name: (name != kind.__name__, name))
        tried = {row.name: set(row.options) - {"vintage"} for row in TABLE.values() if row.name in called}
        inside = {re.sub(r"\(.*", "", n): row for n, row in TABLE.items()}
        options = set().union(*tried.values()) if tried else set()
        if not options and (row := next((inside[n] for n in called if n in inside), None)):
            options = set(row.options) - {"vintage"}
        rows.append(
            (
                f"`{first}`" + (f" ({', '.join(f'`{name}`' for name in others)})" if others else ""),
                where([n in names for n in called], "itself", "here too"),
                where([hasattr(tf_keras.layers, n) for n in called], "yes", ""),
                where([hasattr(keras3.layers, n) for n in called], "yes", ""),
                str(len(options)) if options else "",
            )
        )
    text = table(("layer", "Keras 2", "tf.keras", "Keras 3", "options tried"), rows)
    gone = table(
        ("layer", "why, and what to use"),
        ((f"`{name}`", getattr(keras.layers, name).instead) for name in refused),
    )
    return f"{len(rows)} layers:\n\n{text}\n\n## Refused\n\n{gone}"


def where(found: list[bool], yes: str, no: str) -> str:
    return yes if any(found) else no


def options() -> str:
    """Each layer of the tests' table, with the options whose values are tried one by one and in pairs."""
    from options import TABLE

    return table(
        ("layer", "options"),
        (
            (f"`{name}`", ", ".join(f"`{o}`" for o in sorted(set(row.options) - {"vintage"})))
            for name, row in sorted(TABLE.items())
        ),
    )


PARTS: dict[str, Callable[[], str]] = {
    "kcompile": package("kcompile"),
    "kcompile_runtime": package("kcompile_runtime"),
    "kcompile.testing": package("kcompile.testing"),
    "results": results,
    "errors": errors,
    "command-line": command_line,
    "environment": environment,
    "c-header": c_header,
    "layers": layers,
    "options": options,
}


def filled(text: str) -> str:
    """A page with its parts. Raises ValueError for a part that nobody makes."""

    def part(found: re.Match[str]) -> str:
        if found[1] not in PARTS:
            raise ValueError(f"no part is called {found[1]!r}: there are {', '.join(PARTS)}")
        return PARTS[found[1]]()

    return MARK.sub(part, text)


def plain(lines: Iterable[str]) -> list[str]:
    """A docstring of ours as reStructuredText: names in backquotes, all else as it stands, indented blocks
    behind a blank line as code."""
    made: list[str] = []
    text = [_outside_code(line) if not line.startswith("    ") else line for line in lines]
    for i, line in enumerate(text):
        starts = line.startswith("    ") and i and not text[i - 1] and not _in_code(made)
        made += ["::", "", line] if starts else [line]
    return made


def _in_code(lines: list[str]) -> bool:
    """Whether the last line that is not blank is a part of an indented block."""
    return next((line.startswith("    ") for line in reversed(lines) if line), False)


def _outside_code(line: str) -> str:
    parts = line.split("`")
    parts[::2] = [_SPECIAL.sub(r"\\\g<0>", part) for part in parts[::2]]
    return "`".join(parts)


def setup(app: Any) -> dict[str, bool]:
    """For Sphinx: pages are filled, and docstrings made plain, when they are read."""

    def read(app: Any, page: str, source: list[str]) -> None:
        source[0] = filled(source[0])

    def docstring(app: Any, what: str, name: str, value: Any, options: Any, lines: list[str]) -> None:
        lines[:] = plain(lines)

    app.connect("source-read", read)
    app.connect("autodoc-process-docstring", docstring)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
