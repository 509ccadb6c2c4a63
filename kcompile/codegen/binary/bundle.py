"""Compiled bundles: native code with the sizes and names that the runtime needs. The disk cache keeps them.

Enters: the object code of a planned program. Leaves: a `Bundle`, from which a runtime program is made without
any compiler. The key of a bundle in the cache is a hash of the graph's content and of the compiler's own
(`compiler_stamp`), so a graph that was compiled before costs one hash.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import numpy as np

from kcompile.codegen.binary import cache as disk
from kcompile.codegen.binary import jit
from kcompile.codegen.llvm import batches, pool
from kcompile.codegen.targets import Target
from kcompile.ir.digest import fingerprint
from kcompile.ir.graph import Graph
from kcompile_runtime.layout import Memory


@dataclass(frozen=True)
class EntryInfo:
    """What the runtime must know of an entry point."""

    name: str
    memory: Memory


@dataclass(frozen=True)
class Bundle:
    """The compiled code of a program.

    objects: relocatable code, with the functions kc_<entry>. prepared: the size of the prepared block, bytes.
    constants: the bytes of the constants. prepares: the digest of what the entry "prepare" computes, and the
    numbers of the variables that it reads; programs in which both are equal have equal prepared blocks.
    """

    objects: tuple[bytes, ...]
    entries: tuple[EntryInfo, ...]
    prepared: int
    constants: bytes
    prepares: tuple[str, tuple[int, ...]] = ("", ())

    def to_bytes(self) -> bytes:
        head = {
            "entries": [asdict(e) for e in self.entries],
            "prepared": self.prepared,
            "prepares": self.prepares,
        }
        return disk.pack(head, [self.constants, *self.objects])

    @staticmethod
    def from_bytes(data: bytes) -> Bundle:
        """The bundle of which `to_bytes` made these bytes. Raises ValueError or KeyError for other bytes."""
        head, (constants, *objects) = disk.unpack(data)
        entries = tuple(EntryInfo(e["name"], Memory.of(e["memory"])) for e in head["entries"])
        digest, numbers = head["prepares"]
        return Bundle(tuple(objects), entries, head["prepared"], constants, (digest, tuple(numbers)))


def code_key(graph: Graph, entry: str, frozen: bool, target: Target, budget: object = None) -> str:
    """The key in the disk cache of a graph's code, compiled as this entry, within this budget."""
    return disk.key([compiler_stamp(), fingerprint(graph), entry, str(frozen), repr(budget)], target)


@cache
def support(target: Target) -> bytes:
    """Object code that all programs need: the thread pool, the loop over batches, and the symbols that an
    operating system expects."""
    key = disk.key([compiler_stamp(), "support"], target)
    code = disk.get(key)
    if code is None:
        code = jit.optimise_and_compile(
            [pool.pool_ir(target), batches.batches_ir(), jit.system_ir(target)], target
        )
        jit.load(code)
        disk.put(key, code)
    return code


@cache
def compiler_stamp() -> str:
    """A hash of the compiler itself: the content of its files, and the versions of the Python, LLVM and numpy
    that it runs with."""
    import llvmlite
    from llvmlite.binding import llvm_version_info

    package = Path(__file__).resolve().parents[2]
    versions = sys.version, llvmlite.__version__, llvm_version_info, np.__version__
    digest = hashlib.sha256(repr(versions).encode())
    for path in sorted(source_files(package)):
        data = path.read_bytes()
        digest.update(f"\n{path.relative_to(package).as_posix()} {len(data)} ".encode() + data)
    return digest.hexdigest()


def source_files(package: Path) -> Iterator[Path]:
    """Every file of a package but those that Python writes itself (`__pycache__`)."""
    for folder, inner, names in os.walk(package):
        inner[:] = [name for name in inner if name != "__pycache__"]
        yield from (Path(folder, name) for name in names)
