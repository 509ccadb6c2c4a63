"""A model for graphics processors as a folder of files: PTX, how it is launched, weights, and a header for C.

Enters: a model whose program is for a device. Leaves: files that `kcompile_runtime.load` reads without
anything of the compiler:

    model.json   what the model is, how its kernels are launched (see `gpu.program`), where arrays lie in
                 weights.bin, and checksums of the other files
    kernels.ptx  the kernels as text, which the driver translates for the device
    weights.bin  constants, variables, a sample input with its output, each at a multiple of 256 bytes
    model.h      the same launches as tables of C, and how to use them

The same arguments give the same bytes.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kcompile.codegen.binary.c_interface import ABI, comment, identifier
from kcompile.codegen.binary.exported import Model, described
from kcompile.codegen.gpu.program import DeviceProgram, device_program
from kcompile.codegen.llvm.pool import POOL_ABI
from kcompile.codegen.targets import Target
from kcompile_runtime.layout import round_up
from kcompile_runtime.replacing import replace_files

PTX, TABLE, WEIGHTS, HEADER = "kernels.ptx", "model.json", "weights.bin", "model.h"
_APART = 256  # bytes: as the driver aligns memory


def build_package(
    model: Model,
    target: Target,
    folder: Path,
    version: str = "",
    checks: Sequence[str] = (),
    numbers: Sequence[tuple[int, int, str]] = (),
) -> Path:
    """Write the files into `folder`, made where there is none; files of these names are replaced, others
    stay. Gives the folder.

    version: the compiler's, for the metadata. checks, numbers: as of `kcompile_runtime.EntrySpec`. Raises
    OSError where the disk fails.
    """
    made = device_program(model.program, target)
    name = identifier(model.name)
    weights, places = _weights(model, made)
    files = {PTX: made.ptx.encode(), WEIGHTS: weights, HEADER: _header(name, model, made, places).encode()}
    metadata = {
        "abi": ABI,
        "pool_abi": POOL_ABI,
        "version": version,
        "name": name,
        "triple": target.triple,
        "target": "cuda",
        "cpu_flags": [],
        "architecture": target.name,
        "batch": model.batch,
        "inputs": described(model.inputs),
        "outputs": described(model.outputs),
        "checks": list(checks),
        "numbers": [list(row) for row in numbers],
        "precision": model.precision,
        "table": made.table,
        "places": places,
        "sample": {"n": model.sample.n, "tolerance": model.sample.tolerance},
        "files": {file: f"{zlib.crc32(data):08x}" for file, data in files.items()},
    }
    if model.states:
        metadata["states"] = model.states
    if model.draws is not None:
        metadata |= {"draws": True, "drawn_from": [model.draws.number, model.draws.seed]}
    files[TABLE] = (json.dumps(_sealed(metadata), sort_keys=True, indent=1) + "\n").encode()
    replace_files(folder, files)
    return folder


def _sealed(metadata: dict[str, Any]) -> dict[str, Any]:
    """With a checksum of itself."""
    text = json.dumps(metadata, sort_keys=True)
    return {**metadata, "checksum": f"{zlib.crc32(text.encode()):08x}"}


def _weights(model: Model, made: DeviceProgram) -> tuple[bytes, dict[str, Any]]:
    """The bytes of the file, and where each array is: {"constants", "variables", "sample_inputs",
    "sample_outputs"}, each {"offset", "bytes"}, arrays with dtype and shape too."""
    data = bytearray()

    def place(part: bytes | NDArray[np.generic]) -> dict[str, Any]:
        raw = part if isinstance(part, bytes) else np.ascontiguousarray(part).tobytes()
        data.extend(bytes(round_up(len(data), _APART) - len(data)))
        found: dict[str, Any] = {"offset": len(data), "bytes": len(raw)}
        data.extend(raw)
        if not isinstance(part, bytes):
            found |= {"dtype": str(part.dtype), "shape": list(part.shape)}
        return found

    variables = [place(value) for value in model.variables if value is not None]
    places = {
        "constants": place(made.constants),
        "variables": variables,
        "sample_inputs": [place(x) for x in model.sample.inputs],
        "sample_outputs": [place(y) for y in model.sample.outputs],
    }
    return bytes(data), places


# ---------------------------------------------------------------- the header

_REGIONS = ("input", "output", "variable", "prepared", "constant", "arena")


def _header(name: str, model: Model, made: DeviceProgram, places: Mapping[str, Any]) -> str:
    """The C header: valid C99 and C++, whatever the names of the tensors."""
    lines = [
        f"/* {what} {i}: {comment(f'{t.type} {t.name}')} */"
        for what, group in (("input", model.inputs), ("output", model.outputs))
        for i, t in enumerate(group)
    ]
    tables = []
    for entry in made.table["entries"]:
        own = f"kc_{name}_{entry['name']}"
        rows, launches, steps = list(_rows(entry))
        fixed, each = entry["arena"]
        tables += [
            _table("kc_cuda_place", f"{own}_places", rows),
            _table("kc_cuda_launch", f"{own}_launches", launches),
            _table("kc_cuda_step", f"{own}_steps", steps),
            f"#define KC_{own.upper()[3:]}_STEPS {len(steps)}",
            f"#define KC_{own.upper()[3:]}_ARENA(n) ({fixed}ll + (n) * {each}ll)\n",
        ]
    variables = [f"{{{at['offset']}, {at['bytes']}}}" for at in places["variables"]]
    words = {
        "NAME": name,
        "UPPER": name.upper(),
        "TENSORS": "\n".join(lines),
        "TABLES": "\n".join(tables),
        "VARIABLES": _table("kc_cuda_bytes", f"kc_{name}_variables", variables),
        "PREPARED": str(made.table["prepared"]),
        "CONSTANTS": f"{{{places['constants']['offset']}, {places['constants']['bytes']}}}",
        "FIRST": "prepare (once), " if len(made.table["entries"]) > 1 else "",
    }
    text = _HEADER
    for word, value in words.items():
        text = text.replace(f"@{word}@", value)
    return text


def _table(kind: str, name: str, rows: Sequence[str]) -> str:
    body = ",\n  ".join(rows) or "{0}"
    return f"static const {kind} {name}[] = {{\n  {body}\n}};"


def _rows(entry: Mapping[str, Any]) -> Iterator[list[str]]:
    """The rows of the tables of an entry: places, launches, steps."""
    places: list[str] = []
    launches: list[str] = []
    steps: list[str] = []
    for step in entry["steps"]:
        first = len(launches)
        for launch in step.get("launches", [step]):
            fixed, each = launch["units"]
            launches.append(
                f'{{"{launch["kernel"]}", {launch["threads"]}, {fixed}, {each}, {launch["per_block"]}, '
                f"{launch['times']}, {len(places)}, {len(launch['places'])}}}"
            )
            for place in launch["places"]:
                sizes = [*place["offset"], *place.get("step", (0, 0)), *place.get("flip", (0, 0))]
                numbers = ", ".join(map(str, sizes))
                region = f"KC_CUDA_{place['region'].upper()}"
                places.append(f"{{{region}, {place['index']}, {numbers}, {place.get('phase', 0)}}}")
        steps.append(f"{{{step.get('count', 1)}, {first}, {len(launches) - first}}}")
    yield places
    yield launches
    yield steps


_HEADER = (
    """\
/* @NAME@: a compiled model for NVIDIA graphics processors. Written by kcompile.

   kernels.ptx has the kernels (cuModuleLoadData); weights.bin the arrays, at the places that are said here.
   Entries are run in this order: @FIRST@predict. An entry is a list of steps, which run in order; a
   step repeats its launches `count` times. At repetition t, for a batch of n samples, a launch has

     blocks  = ceil((units_fixed + n * units_each) / per_block) * times, of `threads` threads,
     address = start of the region + offset_fixed + n * offset_each + t * (step_fixed + n * step_each)
               + (t + phase) % 2 * (flip_fixed + n * flip_each), for each of its places,

   and the kernel takes these addresses in order, then n as int64_t. Regions: the `index`-th input, output or
   variable; the prepared block, of KC_@UPPER@_PREPARED bytes; constants; the arena. All are memory of the
   device, aligned to 256 bytes. */
#ifndef KC_CUDA_@UPPER@_H
#define KC_CUDA_@UPPER@_H

#include <stdint.h>

#ifndef KC_CUDA_TYPES
#define KC_CUDA_TYPES 1
enum kc_cuda_region {
  """
    + ",\n  ".join(f"KC_CUDA_{region.upper()} = {i}" for i, region in enumerate(_REGIONS))
    + """
};
typedef struct kc_cuda_place {
  int32_t region, index;
  int64_t offset_fixed, offset_each, step_fixed, step_each, flip_fixed, flip_each;
  int32_t phase;
} kc_cuda_place;
typedef struct kc_cuda_launch {
  const char *kernel;
  int32_t threads;
  int64_t units_fixed, units_each, per_block, times;
  int32_t first_place, places;
} kc_cuda_launch;
typedef struct kc_cuda_step {
  int64_t count;
  int32_t first_launch, launches;
} kc_cuda_step;
typedef struct kc_cuda_bytes { /* a part of weights.bin */
  int64_t offset, bytes;
} kc_cuda_bytes;
#endif

@TENSORS@

#define KC_@UPPER@_PREPARED @PREPARED@
static const kc_cuda_bytes kc_@NAME@_constants = @CONSTANTS@;
@VARIABLES@

@TABLES@
#endif
"""
)
