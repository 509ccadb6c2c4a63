"""Native code with what the runtime must know of it: what the disk cache keeps.

Enters: a planned program's object code. Leaves: an `Image`, from which a runtime program can be
made without any compiler. `fingerprint` names a graph by its content, so that a graph that was compiled
before costs one hash.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from kcompile.codegen import cache as disk
from kcompile.codegen.targets import Target
from kcompile.ir.graph import Graph, Literal


@dataclass(frozen=True)
class EntryImage:
    """name; arena in bytes as (fixed, per sample); scratch in bytes for each thread."""

    name: str
    arena: tuple[int, int]
    scratch: int


@dataclass(frozen=True)
class Image:
    """objects: relocatable code, with the functions kc_<entry>. prepared: bytes of the prepared block.
    constants: its bytes."""

    objects: tuple[bytes, ...]
    entries: tuple[EntryImage, ...]
    prepared: int
    constants: bytes

    def to_bytes(self) -> bytes:
        head = {"entries": [asdict(e) for e in self.entries], "prepared": self.prepared}
        return disk.pack(head, [self.constants, *self.objects])

    @staticmethod
    def from_bytes(data: bytes) -> Image:
        """What `to_bytes` gave. Raises ValueError, KeyError for other bytes."""
        head, (constants, *objects) = disk.unpack(data)
        entries = tuple(EntryImage(e["name"], tuple(e["arena"]), e["scratch"])
                        for e in head["entries"])
        return Image(tuple(objects), entries, head["prepared"], constants)


def fingerprint(graph: Graph) -> str:
    """A name for what a graph computes: its nodes, constants and boundary, not where they came from."""
    digest = hashlib.sha256()
    for node in graph.live():
        digest.update(f"{node.id} {node.op.name} {[tuple(v) for v in node.inputs]} {node.types} ".encode())
        for name, value in node.attrs.items():
            if isinstance(value, Literal):
                digest.update(value.data)
            digest.update(f"{name}={value!r} ".encode())
    boundary = [(k, tuple(v)) for table in (graph.inputs, graph.variables, graph.outputs, graph.updates)
                for k, v in table.items()]
    digest.update(repr(boundary).encode())
    return digest.hexdigest()


@cache
def support(target: Target) -> bytes:
    """Object code that all programs need: the thread pool, and the loop over batches."""
    key = disk.key([compiler_stamp(), "support"], target)
    code = disk.get(key)
    if code is None:
        from kcompile.codegen import batches, jit, pool

        code = jit.optimise_and_compile([pool.pool_ir(target), batches.batches_ir()], target)
        disk.put(key, code)
    return code


@cache
def compiler_stamp() -> str:
    """A name for the compiler itself: the state of its source files."""
    package = Path(__file__).resolve().parent.parent
    digest = hashlib.sha256()
    for folder in ("codegen", "codegen/gpu", "ir", "ir/ops", "ir/passes"):
        with os.scandir(package / folder) as files:
            for file in sorted(files, key=lambda f: f.name):
                if file.name.endswith(".py"):
                    status = file.stat()
                    digest.update(f"{file.name} {status.st_size} {status.st_mtime_ns};".encode())
    return digest.hexdigest()
