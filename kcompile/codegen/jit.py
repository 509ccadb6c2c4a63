"""From LLVM IR text to machine code, and from machine code to callable addresses.

What enters: IR text (one module, or several to be linked into one). What leaves: object code
(`bytes`, which the cache can keep), assembly for people, or a `Library` loaded into this process.
llvmlite is imported by the functions that need it, so that importing kcompile stays light.
"""

from __future__ import annotations

import functools
import itertools
import threading
from collections.abc import Sequence
from typing import Any, Union

from kcompile.codegen import cache
from kcompile.codegen.targets import Target

Text = Union[str, Sequence[str]]

PASSES = "function O1"  # part of the cache key: change it with the passes

_names = itertools.count()
_lock = threading.Lock()


class Library:
    """Machine code in this process. Addresses are valid as long as the library is referenced."""

    def __init__(self, code: bytes) -> None:
        import llvmlite.binding as llvm

        with _lock:
            builder = llvm.JITLibraryBuilder().add_object_img(code).add_current_process()
            self._name = f"kcompile{next(_names)}"
            self._jit = _lljit()
            self._tracker = builder.link(self._jit, self._name)
            self._keep: dict[str, Any] = {}

    def address(self, symbol: str) -> int:
        """The address of a function or variable. Raises KeyError when there is none."""
        with _lock:
            if symbol not in self._keep:
                try:
                    self._keep[symbol] = self._jit.lookup(self._name, symbol)
                except RuntimeError as error:
                    raise KeyError(f"no symbol {symbol!r} in the compiled code: {error}") from error
            return int(self._keep[symbol][symbol])


def load(object_code: bytes) -> Library:
    """Link object code (from `optimise_and_compile`, for this machine) into this process. Raises
    RuntimeError when a symbol it needs is missing."""
    return Library(object_code)


def optimise_and_compile(ir: Text, target: Target) -> bytes:
    """Object code of the modules in `ir`, linked into one. Raises RuntimeError, with LLVM's
    message, for text that LLVM does not accept."""
    with _lock:
        module, machine = _optimised(ir, target)
        return bytes(machine.emit_object(module))


def cached_object(ir: Text, target: Target) -> bytes:
    """`optimise_and_compile`, or what it gave for the same text, target and versions before."""
    name = cache.key([PASSES, *_texts(ir)], target)
    code = cache.get(name)
    if code is None:
        code = optimise_and_compile(ir, target)
        cache.put(name, code)
    return code


def assembly(ir: Text, target: Target) -> str:
    """The assembly of what `optimise_and_compile` makes."""
    with _lock:
        module, machine = _optimised(ir, target)
        return str(machine.emit_assembly(module))


def optimised(ir: Text, target: Target) -> str:
    """The LLVM IR after the passes."""
    with _lock:
        return str(_optimised(ir, target)[0])


def _texts(ir: Text) -> list[str]:
    return [ir] if isinstance(ir, str) else list(ir)


def _optimised(ir: Text, target: Target) -> tuple[Any, Any]:
    import llvmlite.binding as llvm

    machine = _machine(target)
    texts = _texts(ir)
    module = llvm.parse_assembly(texts[0])
    for text in texts[1:]:
        module.link_in(llvm.parse_assembly(text))
    module.data_layout = str(machine.target_data)
    module.verify()
    _run_passes(llvm, module, machine)
    return module, machine


def _run_passes(llvm: Any, module: Any, machine: Any) -> None:
    """LLVM's -O1 pipeline for single functions: it puts register buffers into registers, and moves
    what does not change out of loops. The pipeline for modules takes half as long again and finds
    nothing more, since kernels do not call each other; loops are already as they should be."""
    options = llvm.create_pipeline_tuning_options(speed_level=1)
    options.loop_vectorization = options.slp_vectorization = False
    options.loop_unrolling = options.loop_interleaving = False
    builder = llvm.create_pass_builder(machine, options)
    passes = builder.getFunctionPassManager()
    for function in module.functions:
        if not function.is_declaration:
            passes.run(function, builder)


@functools.cache
def _machine(target: Target) -> Any:
    import llvmlite.binding as llvm

    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    return llvm.Target.from_triple(target.triple).create_target_machine(
        cpu=target.cpu, features=target.features, opt=2, reloc="pic", codemodel="small")


@functools.cache
def _lljit() -> Any:
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm.create_lljit_compiler(use_jit_link=True)
