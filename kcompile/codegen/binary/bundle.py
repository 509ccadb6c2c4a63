"""Native code with what the runtime must know of it: what the disk cache keeps.

Enters: a planned program's object code. Leaves: an `Image`, from which a runtime program can be
made without any compiler. `compiler_stamp` names the compiler by its content: with the graph's fingerprint
it makes the key, so that a graph that was compiled before costs one hash.
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


@dataclass(frozen=True)
class EntryImage:
    """name; arena in bytes as (fixed, per sample); scratch in bytes for each thread."""

    name: str
    arena: tuple[int, int]
    scratch: int


@dataclass(frozen=True)
class Image:
    """objects: relocatable code, with the functions kc_<entry>. prepared: bytes of the prepared block.
    constants: its bytes. prepares: the digest of what "prepare" computes, and the numbers of the variables
    that it reads: where both are the same, blocks are."""

    objects: tuple[bytes, ...]
    entries: tuple[EntryImage, ...]
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
    def from_bytes(data: bytes) -> Image:
        """What `to_bytes` gave. Raises ValueError, KeyError for other bytes."""
        head, (constants, *objects) = disk.unpack(data)
        entries = tuple(EntryImage(e["name"], tuple(e["arena"]), e["scratch"]) for e in head["entries"])
        digest, numbers = head["prepares"]
        return Image(tuple(objects), entries, head["prepared"], constants, (digest, tuple(numbers)))


def code_key(graph: Graph, entry: str, frozen: bool, target: Target) -> str:
    """What the code of a graph, as this entry, is called in the disk cache."""
    return disk.key([compiler_stamp(), fingerprint(graph), entry, str(frozen)], target)


@cache
def support(target: Target) -> bytes:
    """Object code that all programs need: the thread pool, the loop over batches, and what the system
    asks for."""
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
    """A name for the compiler itself: the content of its files, and the versions of what makes code and
    computes constants for it."""
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
    """Every file of a package that is not made from another one."""
    for folder, inner, names in os.walk(package):
        inner[:] = [name for name in inner if name != "__pycache__"]
        yield from (Path(folder, name) for name in names)
