"""Every public name says what it is, what each of its parameters means, and which errors it raises itself."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from test_pages import generated

PACKAGES = (
    "kcompile",
    "kcompile_runtime",
    "kcompile_runtime.serving",
    "kcompile.testing",
    "kcompile.sklearn",
)
EDITIONS = ("kcompile.keras", "kcompile.tf_keras", "kcompile.keras3")
MODULES = (
    "activations",
    "applications",
    "backend",
    "callbacks",
    "constraints",
    "initializers",
    "layers",
    "losses",
    "metrics",
    "models",
    "ops",
    "optimizers",
    "preprocessing.image",
    "preprocessing.sequence",
    "preprocessing.text",
    "random",
    "regularizers",
    "utils",
)
# Parameters that hold arrays, and what says of them which
ARRAYS = {"x", "inputs", "samples", "arrays"}
SAYS_WHICH = re.compile(r"array|shape|dtype|float32|representative data|[Aa]s `|as of|random input|whatever")


def public() -> Iterator[tuple[str, Any]]:
    for package in PACKAGES:
        module = importlib.import_module(package)
        yield from ((f"{package}.{name}", getattr(module, name)) for name in module.__all__)
    for name in generated.RESULTS:
        module_name, _, kind = name.rpartition(".")
        yield name, getattr(importlib.import_module(module_name), kind)


def documented() -> Iterator[tuple[str, Callable[..., Any], str]]:
    """Functions, classes and methods: the name, what is called, its docstring."""
    for name, value in public():
        if isinstance(value, type):
            yield name, value, value.__dict__.get("__doc__") or ""
            for part, member in vars(value).items():
                if isinstance(member, property):
                    member = member.fget
                if inspect.isfunction(member) and (part == "__call__" or not part.startswith("_")):
                    yield f"{name}.{part}", member, member.__doc__ or ""
        elif callable(value):
            yield name, value, value.__doc__ or ""


def parameters(called: Any) -> set[str]:
    """By name, but for those that take any number of arguments."""
    if isinstance(called, type) and issubclass(called, BaseException):
        return set()
    rest = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    known = inspect.signature(called).parameters.values()
    return {p.name for p in known if p.kind not in rest} - {"self"}


def raised(called: Any) -> set[str]:
    """The errors that its own code raises."""
    if isinstance(called, type):
        called = called.__init__
    if not inspect.isfunction(called):
        return set()
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(called)))
    except OSError:  # of a dataclass
        return set()
    found = (n.exc for n in ast.walk(tree) if isinstance(n, ast.Raise) and isinstance(n.exc, ast.Call))
    return {call.func.id for call in found if isinstance(call.func, ast.Name)}


ALL = {name: (called, text) for name, called, text in documented()}


@pytest.mark.parametrize("name", ALL)
def test_it_says_what_it_is_and_what_it_takes(name: str) -> None:
    called, text = ALL[name]
    assert text.strip()
    missing = [p for p in parameters(called) if not re.search(rf"\b{p}\b", text)]
    assert missing == [], "parameters of which the docstring says nothing"
    if parameters(called) & ARRAYS:
        assert SAYS_WHICH.search(text), "shapes and dtypes"
    assert [error for error in raised(called) if error not in text] == [], "errors"


@pytest.mark.parametrize("edition", EDITIONS)
def test_every_name_of_a_keras_has_a_docstring(edition: str) -> None:
    silent = []
    for place in MODULES:
        try:
            module = importlib.import_module(f"{edition}.{place}")
        except ImportError:  # which this Keras has not
            continue
        for name in getattr(module, "__all__", None) or dir(module):
            value = getattr(module, name)
            ours = callable(value) and str(getattr(value, "__module__", "")).startswith("kcompile")
            if ours and not name.startswith("_") and not inspect.getdoc(value):
                silent.append(f"{place}.{name}")
    assert silent == []


def test_errors_of_a_function_are_found() -> None:
    def fails(x: int) -> None:
        if x:
            raise ValueError("x")
        raise RuntimeError

    assert raised(fails) == {"ValueError"} and parameters(fails) == {"x"}


def test_the_reference_leaves_out_what_other_libraries_add_to_our_classes() -> None:
    pytest.importorskip("sklearn")
    text = generated.PARTS["kcompile.sklearn"]()
    assert ":exclude-members: set_fit_request," in text and "exclude" not in generated.PARTS["kcompile"]()
