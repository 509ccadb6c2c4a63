"""What no hand writes: parts of pages that are made of the program itself, whenever the site is built.

A page says `<!-- generated: NAME -->` on a line of its own; NAME is one of `PARTS`, and the function there
gives the text, in Markdown. A Sphinx extension: `setup` is called by Sphinx alone.
"""

from __future__ import annotations

import argparse
import inspect
import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator
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
    parts = re.split(r"(?<=[.:]) (?=[A-Z])", first)[0].split("`")
    parts[::2] = [part.replace("<", "&lt;").replace("*", "&#42;") for part in parts[::2]]
    return "`".join(parts)


# ---------------------------------------------------------------- Python


def described(module: ModuleType, skip: Iterable[str] = ()) -> str:
    """What a module offers, by its docstrings: functions, classes with their methods, and values."""
    parts = []
    for name in sorted(set(module.__all__) - set(skip), key=str.lower):
        value = getattr(module, name)
        if isinstance(value, type) and issubclass(value, BaseException):
            parts.append(directive("autoexception", f"{module.__name__}.{name}", ":show-inheritance:"))
        elif isinstance(value, type):
            options = [":members:", ":special-members: __call__"]
            if foreign := [m for m in vars(value) if not m.startswith("_") and not _ours(value, m)]:
                options.append(f":exclude-members: {', '.join(foreign)}")
            parts.append(directive("autoclass", f"{module.__name__}.{name}", *options))
        elif callable(value):
            parts.append(directive("autofunction", f"{module.__name__}.{name}"))
    return "\n\n".join(parts)


def _ours(kind: type, member: str) -> bool:
    """Whether it is no method that another library gave a class of ours."""
    module = getattr(getattr(kind, member), "__module__", None)
    return module is None or module.partition(".")[0] in ("kcompile", "kcompile_runtime")


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


def kinds_of_layers() -> dict[type, list[str]]:
    """Each layer that is not refused, in the order of the alphabet, with all of its names, its own first."""
    from kcompile.keras import layers
    from kcompile.keras.engine import Layer
    from kcompile.keras.layers.elsewhere import __all__ as refused

    kinds: dict[type, list[str]] = {}
    for name in layers.__all__:
        value = getattr(layers, name)
        if isinstance(value, type) and issubclass(value, Layer) and name not in refused:
            kinds.setdefault(value, []).append(name)
    for kind, names in kinds.items():
        names.sort(key=lambda name: (name != kind.__name__, name))
    return dict(sorted(kinds.items(), key=lambda item: item[1][0].lower()))


def layers_in_full() -> str:
    """The docstrings of all layers."""
    found = (names[0] for names in kinds_of_layers().values())
    return "\n\n".join(directive("autoclass", f"kcompile.keras.layers.{name}") for name in found)


def layers() -> str:
    """All layers: in which Keras they are, and what the tests try of them; then those that are refused."""
    from kcompile import keras, keras3, tf_keras
    from kcompile.keras.layers.elsewhere import __all__ as refused

    keras2 = json.loads((ROOT / "tests" / "front_end" / "keras2_names.json").read_text())["layers"]
    tried = options_tried()
    rows = []
    for kind, names in kinds_of_layers().items():
        others = ", ".join(f"`{name}`" for name in names[1:])
        count = len(set().union(*(tried.get(name, ()) for name in names)))
        rows.append(
            (
                f"`{names[0]}`" + (f" ({others})" if others else ""),
                "itself" if set(names) & set(keras2) else "here too",
                "yes" if any(hasattr(tf_keras.layers, name) for name in names) else "",
                "yes" if any(hasattr(keras3.layers, name) for name in names) else "",
                str(count or ""),
                sentence(inspect.getdoc(kind)),
            )
        )
    made = table(("layer", "Keras 2", "tf.keras", "Keras 3", "options tried", "what it is"), rows)
    gone = ((f"`{name}`", getattr(keras.layers, name).instead) for name in refused)
    why = table(("layer", "why, and what to use"), gone)
    return f"{len(rows)} layers:\n\n{made}\n\n## Refused\n\n{why}"


def options_tried() -> dict[str, set[str]]:
    """Of each layer of the tests' table, the options that are set to other values; of wrappers, those around
    any layer."""
    from options import TABLE

    found: dict[str, set[str]] = {}
    for name, row in TABLE.items():
        found.setdefault(name.partition("(")[0], set()).update(set(row.options) - {"vintage"})
    return found


def options() -> str:
    """The options that the tests try of each layer, by name."""
    rows = sorted(options_tried().items())
    return table(
        ("layer", "options"),
        ((f"`{name}`", ", ".join(f"`{option}`" for option in sorted(tried))) for name, tried in rows),
    )


PARTS: dict[str, Callable[[], str]] = {
    "kcompile": package("kcompile"),
    "kcompile_runtime": package("kcompile_runtime"),
    "kcompile_runtime.serving": package("kcompile_runtime.serving"),
    "kcompile.testing": package("kcompile.testing"),
    "kcompile.sklearn": package("kcompile.sklearn"),
    "results": results,
    "errors": errors,
    "command-line": command_line,
    "environment": environment,
    "c-header": c_header,
    "layers": layers,
    "layers-in-full": layers_in_full,
    "options": options,
}


def filled(text: str) -> str:
    """A page with its parts. Raises ValueError for a part that nobody makes."""

    def part(found: re.Match[str]) -> str:
        if found[1] not in PARTS:
            raise ValueError(f"no part is called {found[1]!r}: there are {', '.join(PARTS)}")
        return PARTS[found[1]]()

    return MARK.sub(part, text)


def plain(lines: Iterable[str], names: Collection[str] = ()) -> list[str]:
    """A docstring of ours as reStructuredText: words in backquotes are code, indented blocks behind a blank
    line too, names of parameters that a colon follows are bold, all else is as it stands."""
    made: list[str] = []
    text = [line if line.startswith("    ") else _outside_code(line, names) for line in lines]
    for i, line in enumerate(text):
        starts = line.startswith("    ") and i and not text[i - 1] and not _in_code(made)
        made += ["::", "", line] if starts else [line]
    return made


def _in_code(lines: list[str]) -> bool:
    """Whether the last line that is not blank is a part of an indented block."""
    return next((line.startswith("    ") for line in reversed(lines) if line), False)


def _outside_code(line: str, names: Collection[str]) -> str:
    parts = line.split("`")
    parts[::2] = [_SPECIAL.sub(r"\\\g<0>", part) for part in parts[::2]]
    if names:
        one = rf"(?:{'|'.join(map(re.escape, names))})"
        listed = re.compile(rf"(?<![\w.])({one}(?:(?:, | and ){one})*)(?=: )")
        parts[::2] = [listed.sub(r"**\1**", part) for part in parts[::2]]
    return "`".join(parts)


def _parameters(value: Any) -> Collection[str]:
    try:
        return inspect.signature(value).parameters.keys() - {"self"}
    except (TypeError, ValueError):  # of what is not called
        return ()


def _families(value: Any) -> Iterator[type]:
    """The classes of layers that a layer's class is made of, which say what it shares with others."""
    for base in value.__mro__[1:] if isinstance(value, type) else ():
        if base.__module__.startswith("kcompile.keras.layers.") and base.__dict__.get("__doc__"):
            yield base


def setup(app: Any) -> dict[str, bool]:
    """For Sphinx: pages are filled, and docstrings made plain, when they are read; generated ones always."""

    def read(app: Any, page: str, source: list[str]) -> None:
        source[0] = filled(source[0])

    def docstring(app: Any, what: str, name: str, value: Any, options: Any, lines: list[str]) -> None:
        lines[:] = plain(lines, _parameters(value))
        for base in _families(value):
            text = inspect.cleandoc(base.__doc__ or "").splitlines()
            lines += ["", f"What every {base.__name__.lstrip('_')} has:", "", *plain(text, _parameters(base))]

    def outdated(app: Any, env: Any, *_: Any) -> list[str]:
        return [page for page in env.found_docs if MARK.search(Path(env.doc2path(page)).read_text("utf-8"))]

    app.connect("source-read", read)
    app.connect("env-get-outdated", outdated)
    app.connect("autodoc-process-docstring", docstring)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
