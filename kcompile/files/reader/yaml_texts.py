"""YAML from files: the part of it that JSON has too.

Enters: text. Leaves: its value. Read by events and without recursion: no tag makes an object, no
alias multiplies anything.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from kcompile.files.reader import limits
from kcompile.files.reader.json_texts import integer, number, unique
from kcompile.files.reader.kinds import read_text
from kcompile.files.reader.limits import PathLike, bad

_TUPLE = "tag:yaml.org,2002:python/tuple"  # Keras 1 and 2 wrote tuples, and Python 2's text, so
_TEXT_TAGS = ("tag:yaml.org,2002:str", "tag:yaml.org,2002:python/unicode", "!")
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?")
# Octal, hexadecimal, binary, with underscores, of base 60, or a date, for some YAML versions
_DOUBTFUL = re.compile(
    r"[-+]?0[0-9_]+|[-+]?0[xob][0-9a-fA-F_]+|[-+]?[0-9.]*[0-9][0-9_.]*_[0-9_.eE+-]*|"
    r"[-+]?[0-9_]+(:[0-9]{1,2})+(\.[0-9_]*)?|[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}.*|"
    r"(?i:yes|no|on|off|[-+]?\.(nan|inf))|<<|="
)
_WORDS = {
    "": None,
    "~": None,
    "null": None,
    "Null": None,
    "NULL": None,
    "true": True,
    "True": True,
    "TRUE": True,
    "false": False,
    "False": False,
    "FALSE": False,
}


def read_yaml(path: PathLike) -> Any:
    """The value in a YAML file. Raises ModelError naming what is wrong, OSError."""
    return parse_yaml(read_text(path), str(path))


def parse_yaml(text: str, name: str) -> Any:
    """The value of a YAML text, which may hold what JSON may hold.

    Tags are refused but for Keras' own `!!python/tuple`, a list; aliases but for those to such a
    tuple. Plain words that YAML versions read differently (no, 010, 1_000, 1:30) are refused, 1e-3 is
    a number. Raises ModelError.
    """
    import yaml

    if len(text) > limits.MAX_TEXT:
        raise bad(name, f"at most {limits.MAX_TEXT} bytes of YAML", f"{len(text)}")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        value = _from_events(yaml.parse(text, Loader=loader))
        json.dumps(value, ensure_ascii=False).encode()
        return value
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise bad(name, "YAML of plain values", " ".join(str(error).split())[:300]) from error


def _from_events(events: Iterator[Any]) -> Any:
    """The value of a stream of YAML events. Without recursion; raises ValueError."""
    import yaml

    root: list[Any] = []
    stack: list[tuple[list[Any], Any]] = [(root, None)]  # children of open nodes, their start events
    anchors: dict[str, list[Any]] = {}
    count = 0
    for event in events:
        count += 1
        if count > limits.MAX_NODES or len(stack) > limits.MAX_DEPTH:
            raise ValueError("too many values, or nested too deep")
        value: Any
        if isinstance(event, yaml.ScalarEvent):
            value = _scalar(event)
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor not in anchors:
                raise ValueError(f"the alias *{event.anchor}. Write the value itself")
            value = list(anchors[event.anchor])
        elif isinstance(event, (yaml.SequenceStartEvent, yaml.MappingStartEvent)):
            _check_tag(event)
            stack.append(([], event))
            continue
        elif isinstance(event, (yaml.SequenceEndEvent, yaml.MappingEndEvent)):
            children, start = stack.pop()
            value = children
            if isinstance(start, yaml.MappingStartEvent):
                value = _mapping(children)
            elif (
                start.anchor
                and start.tag == _TUPLE
                and len(children) <= 16
                and not any(isinstance(child, (list, dict)) for child in children)
            ):
                anchors[start.anchor] = children
        else:
            continue
        stack[-1][0].append(value)
    if len(root) != 1:
        raise ValueError(f"{len(root)} documents")
    return root[0]


def _check_tag(event: Any) -> None:
    plain = ("tag:yaml.org,2002:seq", "tag:yaml.org,2002:map", "!")
    if (
        event.tag is not None
        and event.tag not in plain
        and not (event.tag == _TUPLE and type(event).__name__ == "SequenceStartEvent")
    ):
        raise ValueError(f"the tag {event.tag!r}. Tags are not read")


def _mapping(children: list[Any]) -> dict[str, Any]:
    keys = children[::2]
    if not all(isinstance(key, str) for key in keys):
        raise ValueError("a key that is not text")
    return unique(list(zip(keys, children[1::2])))


def _scalar(event: Any) -> Any:
    """Text, a number, true, false or null: the same in all YAML versions, or an error."""
    text = event.value
    if event.tag is not None and event.tag not in _TEXT_TAGS:
        raise ValueError(f"the tag {event.tag!r}. Tags are not read")
    if event.tag in _TEXT_TAGS or event.style in ("'", '"', "|", ">"):
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return integer(text)
    if _FLOAT.fullmatch(text):
        return number(text)
    if _DOUBTFUL.fullmatch(text[:100]):
        raise ValueError(
            f"{text!r}, which YAML versions read differently. Quote it, or write true, "
            "false or a plain number"
        )
    return text
