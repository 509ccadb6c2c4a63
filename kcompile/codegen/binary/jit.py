"""From LLVM IR text to machine code, and from machine code to callable addresses.

What enters: IR text (one module, or several to be linked into one). What leaves: object code
(`bytes`, which the cache can keep), assembly for people, or a `Library` loaded into this process.
llvmlite is imported by the functions that need it, so that importing kcompile stays light.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import itertools
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Union

from kcompile.codegen.llvm.lacking import without
from kcompile.codegen.targets import Target
from kcompile_runtime.working import followed

Text = Union[str, Sequence[str]]

_names = itertools.count()
_lock = threading.Lock()


class Library:
    """Machine code in this process. Addresses are valid as long as the library is referenced."""

    def __init__(self, objects: Sequence[bytes]) -> None:
        import llvmlite.binding as llvm

        with _lock:
            builder = llvm.JITLibraryBuilder().add_current_process()
            for code in objects:
                builder.add_object_img(code)
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


def system_ir(target: Target) -> str:
    """Symbols that an operating system expects to be defined once beside all code: on Windows the mark
    `_fltused` of code with floating-point arithmetic, otherwise from the C library's static part."""
    return "@_fltused = constant i32 1\n" if "-windows" in target.triple else ""


def load(*objects: bytes) -> Library:
    """Link object code (from `optimise_and_compile`, for this machine) into this process. Raises
    RuntimeError when a symbol it needs is missing."""
    return Library(objects)


def give_back() -> None:
    """Freed memory that the C library keeps goes back to the system, where it can (glibc).
    Takes some hundredths of a second where much was freed."""
    with contextlib.suppress(AttributeError, TypeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)


def optimise_and_compile(ir: Text, target: Target, kept: Sequence[str] | None = None) -> bytes:
    """Object code of the modules in `ir`, linked into one. kept: the only names that others see, and what
    these do not need is left out; None for all. Raises RuntimeError, with LLVM's message, for text that
    LLVM does not accept."""
    with _lock:
        module, machine = _optimised(ir, target, kept)
        return bytes(machine.emit_object(module))


def compile_apart(texts: Sequence[str], target: Target, threads: int) -> list[bytes]:
    """Object code of each of several modules, compiled side by side by so many threads. Raises as
    `optimise_and_compile` does."""
    workers = min(len(texts), threads)
    with _lock:
        _initialise()
        if workers == 1:
            return [_apart(text, target) for text in texts]
        with ThreadPoolExecutor(workers, "kcompile") as pool:
            made = pool.map(lambda text: _apart(text, target), texts)
            return list(followed(made, "machine code", len(texts)))


def _apart(text: str, target: Target) -> bytes:
    """The object code of a module, compiled in a context and by a target machine of its own, so that threads
    can do this at the same time. llvmlite holds one lock for all of LLVM; here everything but the long call
    for machine code is under that lock."""
    import llvmlite.binding as llvm

    module = llvm.parse_assembly(text, llvm.create_context())
    machine = _new_machine(target)
    _prepare(llvm, module, machine, target)
    emit = getattr(llvm.ffi.lib.LLVMPY_TargetMachineEmitToMemory, "_cfn", None)
    if emit is None:  # a llvmlite that keeps its lock elsewhere
        return bytes(machine.emit_object(module))
    lib, message = llvm.ffi.lib, llvm.ffi.OutputString()
    buffer = emit(machine, module, 1, message)
    if not buffer:
        raise RuntimeError(str(message))
    try:
        return ctypes.string_at(lib.LLVMPY_GetBufferStart(buffer), lib.LLVMPY_GetBufferSize(buffer))
    finally:
        lib.LLVMPY_DisposeMemoryBuffer(buffer)


def assembly(ir: Text, target: Target) -> str:
    """The assembly of what `optimise_and_compile` makes."""
    with _lock:
        module, machine = _optimised(ir, target)
        return str(machine.emit_assembly(module))


def optimised(ir: Text, target: Target) -> str:
    """The LLVM IR after the passes."""
    with _lock:
        return str(_optimised(ir, target)[0])


def _texts(ir: Text, target: Target) -> list[str]:
    texts = [ir] if isinstance(ir, str) else list(ir)
    return [without(text, target.lacks) for text in texts] if target.lacks else texts


def _optimised(ir: Text, target: Target, kept: Sequence[str] | None = None) -> tuple[Any, Any]:
    import llvmlite.binding as llvm

    machine = _machine(target)
    texts = _texts(ir, target)
    module = llvm.parse_assembly(texts[0])
    for text in texts[1:]:
        module.link_in(llvm.parse_assembly(text))
    if kept is not None:
        _hide_others(llvm, module, machine, kept)
    _prepare(llvm, module, machine, target)
    return module, machine


def _hide_others(llvm: Any, module: Any, machine: Any, kept: Sequence[str]) -> None:
    """Leave these names visible, and out what they do not need. Nothing here throws."""
    for value in (*module.functions, *module.global_variables):
        if not (value.is_declaration or value.name in kept or value.name.startswith("llvm.")):
            value.visibility, value.linkage = "default", "internal"
    for function in module.functions:
        if not function.is_declaration:
            function.add_function_attribute("nounwind")
    passes = llvm.create_new_module_pass_manager()
    passes.add_global_dead_code_eliminate_pass()
    passes.run(module, llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options()))


def _prepare(llvm: Any, module: Any, machine: Any, target: Target) -> None:
    """The passes of LLVM that a module goes through before machine code is made of it.

    Register buffers are put into registers, and that is all: the emission shares common subexpressions
    and moves what does not change out of loops (see `llvm.values`), loops are already as they should
    be, and the code generator folds what constants are left. LLVM's -O1 pipeline takes twenty times as
    long, as long as half of the code generation, and kernels are not faster for it. Those of graphics
    processors get it: LLVM has to find out where pointers point.
    """
    module.data_layout = str(machine.target_data)
    module.verify()
    options = llvm.create_pipeline_tuning_options(speed_level=1)
    options.loop_vectorization = options.slp_vectorization = False
    options.loop_unrolling = options.loop_interleaving = False
    builder = llvm.create_pass_builder(machine, options)
    if target.is_gpu:
        passes = builder.getFunctionPassManager()
    else:
        passes = llvm.create_new_function_pass_manager()
        passes.add_sroa_pass()
    for function in module.functions:
        if not function.is_declaration:
            passes.run(function, builder)


@functools.cache
def _initialise() -> None:
    import llvmlite.binding as llvm

    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()


@functools.cache
def _machine(target: Target) -> Any:
    _initialise()
    return _new_machine(target)


def _new_machine(target: Target) -> Any:
    import llvmlite.binding as llvm

    return llvm.Target.from_triple(target.triple).create_target_machine(
        cpu=target.cpu,
        features=target.features,
        opt=2,
        reloc="static" if target.is_bare else "pic",
        codemodel="small",
    )


@functools.cache
def _lljit() -> Any:
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm.create_lljit_compiler(use_jit_link=True)
