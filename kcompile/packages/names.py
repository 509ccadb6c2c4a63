"""What packages may be called, and what they say of a model."""

from __future__ import annotations

import keyword
import re
import sys
from collections.abc import Iterable
from typing import Any

from kcompile_runtime import InputError
from kcompile_runtime.errors import describe
from kcompile_runtime.texts import printable

_VERSION = re.compile(r"\d+(\.\d+)*((a|b|rc)\d+)?(\.post\d+)?(\.dev\d+)?")  # PEP 440, normalised
_SEMANTIC = re.compile(r"\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?")  # semver.org
_NPM = re.compile(r"(@[a-z0-9~-][a-z0-9._~-]*/)?[a-z0-9~-][a-z0-9._~-]*")
_TAKEN = {"numpy", "kcompile", "kcompile_runtime", *sys.stdlib_module_names}


def module_name(given: str | None, model: str) -> str:
    """The name of a Python package: the one given, or made of the model's. Raises InputError for one that
    cannot be imported, or that Python or what the package needs has."""
    name = re.sub(r"\W+", "_", model, flags=re.ASCII).strip("_").lower() if given is None else given
    good = isinstance(name, str) and name.isascii() and name.isidentifier() and not keyword.iskeyword(name)
    if not good or name.lower() in _TAKEN:
        wanted = "a name that can be imported and is nobody else's"
        raise InputError(describe("name", wanted, repr(name), "Name the model, or the package."))
    return name


def npm_name(given: str | None, model: str) -> str:
    """The name of a package for npm, likewise."""
    name = re.sub(r"[^a-z0-9]+", "-", model.lower()).strip("-") if given is None else given
    if not isinstance(name, str) or not _NPM.fullmatch(name) or len(name) > 214:
        wanted = "a name of npm (lower case letters, digits, -, ., _; perhaps @scope/)"
        raise InputError(describe("name", wanted, repr(name), "Name the model, or the package."))
    return name


def version_number(given: str, semantic: bool = False) -> str:
    """The version of a package. Raises InputError for one that pip (npm, if semantic) has no place for."""
    pattern, example = (_SEMANTIC, "1.0.0") if semantic else (_VERSION, "1.0")
    if not isinstance(given, str) or not pattern.fullmatch(given):
        raise InputError(describe("version", f"a version number, as {example!r}", repr(given)))
    return given


def table(metadata: dict[str, Any]) -> Iterable[str]:
    """Lines of Markdown: the inputs and outputs of a library."""
    yield "| | name | dtype | shape |"
    yield "|---|---|---|---|"
    for what in ("inputs", "outputs"):
        for spec in metadata[what]:
            name = printable(spec["name"]).replace("|", "/").replace("`", "'")
            shape = ", ".join(map(str, spec["shape"]))
            yield f"| {what[:-1]} | `{name}` | {spec['dtype']} | ({shape}) |"
