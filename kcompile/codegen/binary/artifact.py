"""A compiled model as one file: `model.so` (or `model.wasm`), and `model.h` that describes it.

Enters: a program with an entry that predicts, the bytes it reads (prepared block, constants,
variables), a sample input with its output. Leaves: a shared object whose C interface (see `header`)
allocates nothing, keeps no state, and touches no other file. Weights lie in its read-only, page-
aligned data, so that all processes that load the file share them. For wasm32 it is a WebAssembly
module with the same functions, which imports nothing.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from kcompile.codegen import loops
from kcompile.codegen.binary import bare, c_step, jit, link
from kcompile.codegen.binary.c_interface import (
    ABI,
    DTYPE_CODES,
    MAX_RANK,
    MAX_SAMPLES,
    comment,
    draw_words,
    identifier,
    interface_ir,
    prefix_of,
    run_ir,
)
from kcompile.codegen.binary.data import Data, Places
from kcompile.codegen.binary.exported import Model, Step, Tensor, described
from kcompile.codegen.binary.levels import levels_ir
from kcompile.codegen.llvm import module
from kcompile.codegen.llvm.memory import entry_memory
from kcompile.codegen.llvm.pool import POOL_ABI, pool_ir
from kcompile.codegen.program import Entry, Program
from kcompile.codegen.targets import Target
from kcompile.ir.types import TensorType, bind
from kcompile_runtime.layout import ALIGNMENT
from kcompile_runtime.replacing import replace_all, work_folder
from kcompile_runtime.working import working

_CHECKSUM = b'"checksum": "????????"'


@dataclass(frozen=True)
class Emission:
    """A model as the code of one target has it."""

    model: Model
    target: Target

    @property
    def entry(self) -> Entry:
        """The entry that predicts. Raises ValueError where there is none."""
        return _entry(self.model.program, "predict")

    @property
    def programs(self) -> dict[str, Program]:
        """What its code is made of, by the names that those of native functions begin with."""
        program, step = self.model.program, self.model.step
        if step is None:
            return {"": replace(program, entries=(self.entry,))}
        return {"": program, "step_": step.program}


def build_artifact(
    model: Model,
    target: Target,
    path: str | os.PathLike[str],
    version: str = "",
    better: Sequence[Emission] = (),
    name: str = "",
) -> Path:
    """Write the shared object (for wasm32: the module) `path`, and its header beside it (suffix
    .h). Returns the path.

    version: the compiler's, for the metadata. better: of the same model, for higher levels of the target's
    architecture, the least first; the library takes the best that the processor has. Of data that several
    need it holds one copy. name: of all these targets, where there are several. The same arguments give the
    same bytes. Both files appear, or none does; a symbolic link is written through, permissions stay. Raises
    ValueError for a model that cannot be exported or a target that cannot be linked for, `link.LinkError`
    without a linker, OSError for a path that is a folder's and when the disk fails.
    """
    link.check(target.triple)
    destination = Path(path)
    if destination.suffix == ".h":
        raise ValueError(
            f"export: expected a path for the library; its header gets the suffix .h. Received: {destination}"
        )
    finals = [Path(os.path.realpath(p)) for p in (destination, destination.with_suffix(".h"))]
    for final in finals:
        if final.is_dir():
            raise IsADirectoryError(errno.EISDIR, "export: expected a path for a file", str(final))
    model = replace(model, name=identifier(model.name))
    emissions = (Emission(model, target), *better)
    for each in emissions:
        _check(each.model, each.entry)
    data = Data()
    places = [Places.of(data, each.model, each.entry) for each in emissions]
    metadata = _metadata(model, target, version, [each.target.name for each in emissions[1:]], name)
    with working(f"machine code of {destination.name}"):
        if target.is_bare:
            codes = [_bare_code(emissions[0], places[0], data, metadata)]
        else:
            codes, exports = _code(emissions, places)
    with contextlib.ExitStack() as stack:
        work, beside = (stack.enter_context(work_folder(final)) for final in finals)
        library, head = work / "model.so", beside / "model.h"
        head.write_text(header(model, emissions[0].entry, target, emissions[1:]), encoding="utf-8")
        if target.is_bare:
            library.write_bytes(codes[0])
        else:
            objects = [work / f"code{i}.o" for i in range(len(codes))]
            for place, code in zip(objects, codes):
                place.write_bytes(code)
            with open(work / "data.o", "wb") as file:
                link.write_data_object(file, target.triple, data.whole, metadata)
            link.link([*objects, work / "data.o"], library, exports, target.triple)
        _seal(library)
        replace_all(list(zip((library, head), finals)))
    return destination


def _bare_code(only: Emission, places: Places, data: Data, metadata: bytes) -> bytes:
    """The object file for a program without an operating system."""
    texts, exports = _texts(only, places)
    return bare.object_file(texts, only.target, exports, data.whole, metadata)


def _texts(only: Emission, places: Places) -> tuple[list[str], list[str]]:
    """The code of a library for one target as LLVM IR, and the names it exports."""
    common, exports = _common([only], places)
    own = prefix_of(only.model)
    return [*_kernels(only, "kc_"), *common, *_functions(only, places, own, "kc_")], exports


def _common(emissions: Sequence[Emission], places: Places) -> tuple[list[str], list[str]]:
    """What a library has once, for whatever targets, as LLVM IR for the least; and the names it exports."""
    least = emissions[0]
    interface, exports = interface_ir(least.model, places.model, least.target)
    common = [pool_ir(least.target), interface]
    if places.step is not None:
        size = max(c_step.state_size(each.model, each.model.program.prepared) for each in emissions)
        text, names = c_step.state_ir(least.model, places.step, size, least.target)
        common.append(text)
        exports += names
    return common, exports


def _code(emissions: Sequence[Emission], places: Sequence[Places]) -> tuple[list[bytes], list[str]]:
    """The object code, and the names it exports: one object, or that of each level and what is theirs in
    common, which takes the least level."""
    (least, *better), own = emissions, prefix_of(emissions[0].model)
    if not better:
        texts, exports = _texts(least, places[0])
        return [jit.optimise_and_compile(texts, least.target)], exports
    common, exports = _common(emissions, places[0])
    prefixes, codes = [f"{own}_of{i}" for i in range(len(emissions))], []
    for i, (each, place) in enumerate(zip(emissions, places)):
        native = f"kc_of{i}_"
        texts = [*_kernels(each, native), *_functions(each, place, prefixes[i], native, i, "hidden")]
        codes.append(jit.optimise_and_compile(texts, each.target))
    draw = draw_words(least.model, least.target.pointer_bytes)
    chosen = levels_ir([each.target for each in emissions], own, prefixes, draw, least.model.step is not None)
    return [*codes, jit.optimise_and_compile([*common, chosen], least.target)], exports


def _kernels(each: Emission, native: str) -> list[str]:
    """The modules of an emission's programs."""
    return [
        module.emit_program(program, each.target, native + part) for part, program in each.programs.items()
    ]


def _functions(
    each: Emission, places: Places, prefix: str, native: str, level: int = 0, linkage: str = ""
) -> list[str]:
    """The C functions around an emission's entries. native: how the names of its programs begin."""
    model, target = each.model, each.target
    called = f"{native}predict"
    found = [run_ir(model, places.model, target, prefix, called, linkage)]
    if model.step is None or places.step is None:
        return found
    baked, natives = (places.model.prepared, places.model.constants), (called, f"{native}prepare")
    step = f"{native}step_train"
    return [
        *found,
        c_step.step_ir(model, places.step, target, prefix, step, linkage),
        c_step.state_run_ir(model, places.step, baked, target, prefix, natives, level, linkage),
    ]


def _entry(program: Program, name: str) -> Entry:
    for entry in program.entries:
        if entry.name == name:
            return entry
    names = ", ".join(e.name for e in program.entries)
    raise ValueError(f"export: expected a program with the entry {name!r}. Received: {names}")


# ---------------------------------------------------------------- what may be exported


def _check(model: Model, entry: Entry) -> None:
    for tensor in (*model.inputs, *model.outputs):
        if tensor.type.rank > MAX_RANK:
            raise ValueError(f"{tensor.name}: expected a rank of at most {MAX_RANK}. Received: {tensor.type}")
    if len(model.prepared) != model.program.prepared:
        raise ValueError(
            f"export: expected {model.program.prepared} prepared bytes. Received: {len(model.prepared)}"
        )
    if model.batch is not None and (model.batch < 1 or model.sample.n != model.batch):
        raise ValueError(
            "export: expected a batch of at least 1, and a sample of that size. "
            f"Received: batch={model.batch}, a sample of {model.sample.n}"
        )
    for launch in entry.launches:
        written = loops.written(launch.kernel.body)
        for buffer, ref in zip(launch.kernel.buffers, launch.buffers):
            if buffer in written and ref.region not in ("output", "arena"):
                raise ValueError(
                    f"export: {launch.kernel.name} writes to a {ref.region} while predicting; "
                    "a model that keeps state between calls (stateful=True) has no artifact. "
                    "Rebuild it with stateful=False"
                )
    for what, tensors, arrays in (
        ("input", model.inputs, model.sample.inputs),
        ("output", model.outputs, model.sample.outputs),
    ):
        if len(tensors) != len(arrays):
            raise ValueError(f"export: expected {len(tensors)} sample {what}s. Received: {len(arrays)}")
        for tensor, array in zip(tensors, arrays):
            shape = bind(tensor.type.shape, model.sample.n)
            if array.shape != shape or str(array.dtype) != tensor.type.dtype:
                raise ValueError(
                    f"{tensor.name}: expected a sample of {tensor.type.dtype}, shape {shape}. "
                    f"Received: {array.dtype}, shape {array.shape}"
                )


# ---------------------------------------------------------------- data and metadata


def _metadata(model: Model, target: Target, version: str, better: Sequence[str], name: str) -> bytes:
    """The facts that a loader checks before it loads the file, as JSON in a section of its own."""
    record = {
        "abi": ABI,
        "pool_abi": POOL_ABI,
        "version": version,
        "name": model.name,
        "triple": target.triple,
        "target": name or target.name,
        "cpu_flags": cpu_flags(target),
        "batch": model.batch,
        "inputs": described(model.inputs),
        "outputs": described(model.outputs),
        "checksum": "????????",
    }
    if better:
        record["levels"] = [target.name, *better]
    if model.draws is not None:
        record["draws"] = True
    if model.states:
        record["states"] = model.states
    if model.precision != "float32":
        record["precision"] = model.precision
    guards = _entry(model.program, "predict").guards
    if guards:
        record["checks"] = [guard.label for guard in guards]
    if model.step is not None:
        record["step"] = _step_metadata(model.step)
    return json.dumps(record, sort_keys=True).encode("ascii")


def _step_metadata(step: Step) -> dict[str, object]:
    """What a loader has to know of a training step."""
    state = described([Tensor(t.name, t.type) for t in step.state])
    return {
        "inputs": described(step.inputs),
        "weights": step.weights,
        "outputs": described(step.outputs),
        "report": dict(step.report),
        "state": [{**each, "offset": at} for each, at in zip(state, c_step.offsets_of(step.state)[0])],
        "checks": [guard.label for guard in _entry(step.program, "train").guards],
    }


def cpu_flags(target: Target) -> list[str]:
    """The flags that /proc/cpuinfo must show before code for the target may run, sorted; for wasm32
    LLVM's names of what the host must have. Raises ValueError for a processor model whose features
    the target does not list."""
    architecture = target.architecture
    names = {name[1:] for name in target.features.split(",") if name.startswith("+")}
    if target.cpu in architecture.levels:
        names |= set(architecture.levels[target.cpu])
    elif not names:
        raise ValueError(
            f"target {target.name}: expected features beside the processor "
            f"{target.cpu!r}, or one of {', '.join(architecture.levels)}. Received: none"
        )
    return sorted(architecture.flags[name] for name in names if name in architecture.flags)


def _seal(path: Path) -> None:
    """Write a checksum of the file into its metadata. It is computed with '?' in place of its own digits."""
    data = path.read_bytes()
    at = data.find(_CHECKSUM)
    if at < 0 or data.find(_CHECKSUM, at + 1) >= 0:
        raise link.LinkError("the linker did not keep the metadata")
    digits = f"{zlib.crc32(data):08x}".encode()
    with open(path, "r+b") as file:
        file.seek(at + _CHECKSUM.index(b"?"))
        file.write(digits)


# ---------------------------------------------------------------- the header


def header(model: Model, entry: Entry, target: Target, better: Sequence[Emission] = ()) -> str:
    """The C header of an artifact, valid C99 and C++, whatever the names of the tensors. For wasm32
    its comment says how to call the module from JavaScript."""
    entries = [entry, *(each.entry for each in better)]
    names = [target.name, *(each.target.name for each in better)]
    sizes = [_size_of_values(each) for each in entries]
    if len(set(sizes)) > 1:
        sizes = [",\n   ".join(f"{size} ({level})" for size, level in zip(sizes, names))]
    name = identifier(model.name)
    upper = name.upper()
    tensors = []
    for what, group in (("INPUT", model.inputs), ("OUTPUT", model.outputs)):
        for index, tensor in enumerate(group):
            text = comment(f"{tensor.type} {tensor.name}")
            tensors.append(
                f"/* {what.lower()} {index}: {text} */\n"
                f"#define KC_{upper}_{what}_{index}_ELEMENTS_FIXED "
                f"{_elements(tensor.type)[0]}\n"
                f"#define KC_{upper}_{what}_{index}_ELEMENTS_PER_SAMPLE "
                f"{_elements(tensor.type)[1]}\n"
            )
    codes = ", ".join(f"KC_{dtype.upper()} = {code}" for dtype, code in DTYPE_CODES.items())
    batch = "any number of samples" if model.batch is None else f"{model.batch} samples only"
    web = link.is_wasm(target.triple)
    words = {
        "USAGE": _JAVASCRIPT if web else _BARE if target.is_bare else _C,
        "FLOATS": _HELPERS if "float32" in target.lacks else "It needs nothing of other files",
        "NAME": name,
        "UPPER": upper,
        "TENSORS": "\n".join(tensors),
        "DTYPES": codes,
        "BATCH": batch,
        "ABI": str(ABI),
        "RANK": str(MAX_RANK),
        "ARENA": sizes[0],
        "TARGET": target.name,
        "ONE": str(model.batch or 1),
        "ONE_TEXT": "one sample" if (model.batch or 1) == 1 else f"{model.batch} samples",
        "WORKSPACE": str(max(_workspace(entry, model.batch or 1) for entry in entries)),
        "STATES": "",
        "STEP": "",
        "DRAW": "",
        "DRAWS": "",
        "AND_DRAW": "",
    }
    if model.states:
        words["STATES"] = _STATES.replace("@COUNT@", str(model.states))
    if model.draws is not None:
        words |= {"DRAW": ", 0n" if web else ", draw", "DRAWS": _DRAWS, "AND_DRAW": ", uint64_t draw"}
    if model.step is not None:
        words["STEP"] = c_step.header_part(model, web).replace("@NAME@", name)
    text = _HEADER
    for word, value in words.items():
        text = text.replace(f"@{word}@", value)
    return text


def _size_of_values(entry: Entry) -> str:
    blocks = entry.blocks
    n = "n" if blocks is None or blocks.samples > MAX_SAMPLES else f"min(n, {blocks.samples})"
    return f"{entry.arena.fixed} + {n} * {entry.arena.per_sample} bytes"


def _workspace(entry: Entry, n: int) -> int:
    """What `workspace_size` gives for n samples on one thread."""
    return entry_memory(entry).at(n) + ALIGNMENT


def _elements(kind: TensorType) -> tuple[int, int]:
    """The number of elements as (fixed, per sample)."""
    count = kind.numel
    return (count, 0) if isinstance(count, int) else (0, count.multiple)


_C = """\
   int64_t size = kc_@NAME@_workspace_size(n, threads);
   void *workspace = aligned_alloc(64, (size + 63) / 64 * 64);
   const void *inputs[] = {...};
   void *outputs[] = {...};
   int status = kc_@NAME@_run(n, inputs, outputs, workspace, size, NULL@DRAW@);

   Link with -pthread: the file names no library, and uses the threads of the program's."""

_BARE = """\
   static _Alignas(64) unsigned char workspace[KC_@UPPER@_WORKSPACE];
   const void *inputs[] = {...};
   void *outputs[] = {...};
   int status = kc_@NAME@_run(@ONE@, inputs, outputs, workspace, sizeof workspace, NULL@DRAW@);

   The file is an object for @TARGET@, to be linked with a program, by any linker, and for either way of
   passing floating-point numbers. @FLOATS@.
   It takes no memory but the workspace and the stack; weights are read-only data, in the section
   .rodata.kcompile. There are no threads: ..._pool_start refuses more than one."""
_HELPERS = (
    "Floating-point numbers are computed by the functions\n"
    "   that each compiler for the processor brings (__aeabi_fadd, ...); it needs nothing else of other files"
)

# For one input and one output; pointers are 32 bits wide, int64_t is a BigInt.
_JAVASCRIPT = """\
   The code is a WebAssembly module (with simd128) that imports nothing. From JavaScript, for one
   float32 input and output:

   const { instance } = await WebAssembly.instantiate(bytes);
   const { kc_@NAME@_workspace_size, kc_@NAME@_run, memory, __heap_base } = instance.exports;
   const size = kc_@NAME@_workspace_size(BigInt(n), 1);   // int64_t is a BigInt
   const x = (__heap_base.value + 15) & ~15, y = x + 4 * input.length;
   const tables = y + 4 * outputLength, workspace = tables + 8;
   memory.grow(Math.ceil((workspace + Number(size)) / 65536));
   new Float32Array(memory.buffer, x, input.length).set(input);
   new Uint32Array(memory.buffer, tables, 2).set([x, y]); // the tables of pointers
   const status = kc_@NAME@_run(BigInt(n), tables, tables + 4, workspace, size, 0@DRAW@);
   const output = new Float32Array(memory.buffer, y, outputLength).slice();

   There are no threads: ..._pool_start refuses more than one."""

_DRAWS = """

   draw: the model draws random numbers, and they are a function of this: its lower 32 bits are the
   number of the call (count it up: equal numbers draw the same), its upper 32 bits a seed."""

_STATES = """

   The last @COUNT@ inputs are states of layers: zeros at first, then what the last @COUNT@ outputs
   of the call before are, in memory of their own."""

_HEADER = """\
/* @NAME@: a compiled model. Written by kcompile; the code and the weights are in the file beside
   this one.

@USAGE@

   No function allocates memory, keeps state between calls or touches a file. Calls with different
   workspaces may run at the same time. Arrays are C-contiguous, aligned to their elements.
   Accepted batches: @BATCH@. */
#ifndef KC_MODEL_@UPPER@_H
#define KC_MODEL_@UPPER@_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#ifndef KC_ARTIFACT_TYPES
#define KC_ARTIFACT_TYPES @ABI@
#define KC_MAX_RANK @RANK@

enum kc_status {
  KC_OK = 0,
  KC_NULL_POINTER = 1,    /* an argument, or an element of inputs or outputs, is NULL */
  KC_SHORT_WORKSPACE = 2, /* smaller than ..._workspace_size or the like says */
  KC_BAD_BATCH = 3,       /* n is not accepted */
  KC_BAD_ABI = 4,         /* header and library are of different versions */
  KC_NO_THREADS = 5,      /* the system gave no threads */
  KC_SELFTEST_FAILED = 6, /* the outputs differ from those stored in the file */
  KC_BAD_INDEX = 7,       /* an input has a number of a row (of an embedding, say) that is not there.
                             Nothing was computed. At the workspace's first multiple of 64 are then five
                             int64_t: which of the model's checks, the place of the number among all
                             that were checked, the number (as int32_t), how many rows there are, and
                             how many numbers a sample has (0: they are of no sample) */
  KC_BAD_STATE = 8        /* memory that ..._state_init did not fill, or that is not aligned to 64 bytes */
};

enum kc_dtype { @DTYPES@ };

/* The size of axis a for n samples is fixed[a] + n * per_sample[a]. */
typedef struct kc_tensor {
  const char *name;
  int32_t dtype; /* enum kc_dtype */
  int32_t rank;
  int64_t fixed[KC_MAX_RANK];
  int64_t per_sample[KC_MAX_RANK];
} kc_tensor;
#endif

@TENSORS@
/* Bytes of workspace for @ONE_TEXT@, on one thread: as ..._workspace_size(@ONE@, 1). */
#define KC_@UPPER@_WORKSPACE @WORKSPACE@

/* The version of this interface; must equal KC_ARTIFACT_TYPES. */
int kc_@NAME@_abi(void);

/* Number of inputs and outputs, and their descriptions; NULL for an index out of range. */
int kc_@NAME@_input_count(void);
int kc_@NAME@_output_count(void);
const kc_tensor *kc_@NAME@_input(int index);
const kc_tensor *kc_@NAME@_output(int index);

/* Bytes of workspace for n samples on a pool of so many threads (at least 1); 0 for a batch or a
   number of threads that is not accepted. Of this, the intermediate results are
   @ARENA@. */
int64_t kc_@NAME@_workspace_size(int64_t n, int threads);

/* Predict. pool: started by ..._pool_start, or NULL for one thread. Returns enum kc_status. A pool
   serves one call at a time; a call that finds it busy computes on its own thread.@STATES@@DRAWS@ */
int kc_@NAME@_run(int64_t n, const void *const *inputs, void *const *outputs, void *workspace,
                  int64_t workspace_size, void *pool@AND_DRAW@);

/* Run the sample input in the file and compare with the sample output. *max_error, unless
   max_error is NULL, becomes the largest |got - expected| / (1 + |expected|). */
int64_t kc_@NAME@_selftest_size(void);
int kc_@NAME@_selftest(void *workspace, int64_t workspace_size, double *max_error);
@STEP@
/* A pool of threads, the caller included, in memory of the caller's (aligned to 64 bytes). */
int64_t kc_@NAME@_pool_size(int threads);
int kc_@NAME@_pool_start(void *pool, int threads);
void kc_@NAME@_pool_stop(void *pool);

#ifdef __cplusplus
}
#endif
#endif
"""
