"""The C interface of a training step, as LLVM IR: the step, predictions with what it trained, and the memory
of the caller's that both work on, the state.

Enters: a model with a `Step`, and where its data lie. Leaves: IR text, and the names of the functions it
defines. `artifact.header` documents them.

A state begins with a head of 64 bytes (c_state.ll), then come its tensors, the same for all targets, then the
prepared block for predictions, as the target's code has it. The block is made when predictions ask for it,
after a step, or after the caller told that tensors changed.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from kcompile.codegen.binary.c_interface import (
    BAD_STATE,
    SUFFIX,
    Call,
    Place,
    call_ir,
    comment,
    common_words,
    compare_ir,
    describe,
    draw_words,
    null_checks,
    pointers,
    prefix_of,
    real_of,
    told,
    tolerance,
)
from kcompile.codegen.binary.exported import Model, StateTensor, Step, Tensor
from kcompile.codegen.binary.link import DATA_SYMBOL
from kcompile.codegen.llvm.template import filled
from kcompile.codegen.llvm.values import memory_type
from kcompile.codegen.program import size_of
from kcompile.codegen.targets import Target
from kcompile.ir.types import BYTES, TensorType
from kcompile_runtime.layout import ALIGNMENT, round_up

HEAD = 64  # bytes of a state before its tensors
NAMES = (
    "state_size",
    "state_init",
    "state_changed",
    "state_count",
    "state",
    "state_offset",
    "metrics_reset",
    "train_input_count",
    "train_input",
    "train_output_count",
    "train_output",
    "train_workspace_size",
    "train",
    "state_workspace_size",
    "state_run",
    "train_selftest_size",
    "train_selftest",
)
_FOLDER = Path(__file__).parent
_DATA = f"@{DATA_SYMBOL}"


@dataclass(frozen=True)
class StepData:
    """Where the data of a step lie, in bytes. constants: of its program. values: of each tensor of the state,
    None for zeros. variables: of its program's, and predicted: of the model's program's, in the data or in
    the state. inputs: of the sample; expected: of the results of its steps."""

    constants: int
    values: tuple[int | None, ...]
    variables: tuple[Place, ...]
    predicted: tuple[Place | None, ...]
    inputs: tuple[int, ...]
    expected: int


def offsets_of(state: Sequence[StateTensor]) -> tuple[tuple[int, ...], int]:
    """Where each tensor of a state begins, in bytes, and where the last one ends."""
    places, end = [], HEAD
    for tensor in state:
        places.append(end)
        end += round_up(tensor.value.nbytes)
    return tuple(places), end


def state_size(model: Model, prepared: int) -> int:
    """Bytes of a state, with a prepared block of so many."""
    assert model.step is not None
    return offsets_of(model.step.state)[1] + (round_up(prepared) if prepares(model) else 0)


def prepares(model: Model) -> bool:
    """Whether predictions with a state have a prepared block of their own."""
    return any(entry.name == "prepare" for entry in model.program.entries)


def magic(state: Sequence[StateTensor]) -> int:
    """What a state begins with: a number that says which tensors are in it."""
    text = "\n".join(f"{t.name} {t.type}" for t in state)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1 | 1


# ---------------------------------------------------------------- what a target's code has


def step_ir(model: Model, data: StepData, target: Target, prefix: str, called: str, linkage: str = "") -> str:
    """Definitions of `train` and `train_workspace_size`. Arguments as of `c_interface.run_ir`."""
    step = _step(model)
    word = target.pointer_bytes
    given = len(step.inputs) - step.weights
    blocks = list(_blocks(step))
    lines = [line for k, (_, _, type) in enumerate(blocks) for line in _block_bytes(k, type)]
    total = "%both"
    for k in range(len(blocks)):
        lines.append(f"  %sum.{k} = add i64 {total}, %part.{k}")
        total = f"%sum.{k}"
    return call_ir(
        Call(prefix, "train_workspace_size", "train", called, linkage),
        target,
        model.batch,
        (0, data.constants),
        data.variables,
        STATE_PARAMETER=" ptr %state,",
        DECLARED="\n".join(map(_fill, sorted({type.dtype for _, _, type in blocks}))),
        CELLS=f"  %table = alloca [{max(len(step.inputs) + len(step.told), 1)} x ptr], align 16",
        MORE="\n".join(lines),
        ALL=total,
        CHECKS=null_checks("inputs", given, word)
        + null_checks("outputs", len(step.outputs), word)
        + _state_checks(step),
        BEFORE="\n".join(_given(step, blocks, given, word)),
        GIVEN="%table",
        AFTER=_STALE,
        ENDS=_ENDS,
    )


def _blocks(step: Step) -> Iterator[tuple[int, int, TensorType]]:
    """What a step makes itself of its program's inputs: the number of each, that of the weights whose being
    there it depends on, and its type: weights, if they are left out, and whether there are some."""
    first = len(step.inputs) - step.weights
    for k in range(step.weights):
        yield first + k, k, step.inputs[first + k].type
    for k, weights in enumerate(step.told):
        kind = step.inputs[first + weights].type
        yield len(step.inputs) + k, weights, TensorType(kind.shape[:1], kind.dtype)


def _block_bytes(k: int, type: TensorType) -> list[str]:
    """Code for the elements of a block, and its bytes in whole cache lines."""
    count = size_of(type.numel)
    return [
        f"  %each.{k} = mul i64 %n, {count.per_sample}",
        f"  %count.{k} = add i64 %each.{k}, {count.fixed}",
        f"  %bytes.{k} = mul i64 %count.{k}, {BYTES[type.dtype]}",
        f"  %over.{k} = add i64 %bytes.{k}, {ALIGNMENT - 1}",
        f"  %part.{k} = and i64 %over.{k}, -{ALIGNMENT}",
    ]


def _given(step: Step, blocks: Sequence[tuple[int, int, TensorType]], given: int, word: int) -> Iterator[str]:
    """Code that fills the table of the program's inputs. Blocks lie at the end of the workspace."""
    for i in range(given):
        yield f"  %table.cell.{i} = getelementptr ptr, ptr %table, i64 {i}"
        yield f"  store ptr %inputs.{i}, ptr %table.cell.{i}, align {word}"
    for k in range(step.weights):
        yield f"  %weights.at.{k} = getelementptr ptr, ptr %inputs, i64 {given + k}"
        yield f"  %weights.{k} = load ptr, ptr %weights.at.{k}, align {word}"
        yield f"  %absent.{k} = icmp eq ptr %weights.{k}, null"
    yield f"  %end = sub i64 %need, {ALIGNMENT}"
    last = "%end"
    for k, (number, weights, type) in enumerate(blocks):
        kind, absent = memory_type(type.dtype, 1), f"%absent.{weights}"
        yield from _block_bytes(k, type)
        yield f"  %start.{k} = sub i64 {last}, %part.{k}"
        last = f"%start.{k}"
        yield f"  %block.{k} = getelementptr i8, ptr %arena, i64 {last}"
        own = number < len(step.inputs)
        yield f"  %value.{k} = select i1 {absent}, {kind} {'1.0' if own else '0.0'}, {kind} 1.0"
        if own:
            yield f"  %filled.{k} = select i1 {absent}, i64 %count.{k}, i64 0"
            yield f"  %used.{k} = select i1 {absent}, ptr %block.{k}, ptr %weights.{weights}"
        filled, used = (f"%filled.{k}", f"%used.{k}") if own else (f"%count.{k}", f"%block.{k}")
        yield f"  call void @kc_fill_{type.dtype}(ptr %block.{k}, {kind} %value.{k}, i64 {filled})"
        yield f"  %table.cell.{number} = getelementptr ptr, ptr %table, i64 {number}"
        yield f"  store ptr {used}, ptr %table.cell.{number}, align {word}"


def _fill(dtype: str) -> str:
    kind = memory_type(dtype, 1)
    return f"""define internal void @kc_fill_{dtype}(ptr %to, {kind} %value, i64 %count) {{
entry:
  br label %test
test:
  %i = phi i64 [ 0, %entry ], [ %next, %body ]
  %more = icmp ult i64 %i, %count
  br i1 %more, label %body, label %done
body:
  %at = getelementptr {kind}, ptr %to, i64 %i
  store {kind} %value, ptr %at, align {BYTES[dtype]}
  %next = add i64 %i, 1
  br label %test
done:
  ret void
}}"""


def state_run_ir(
    model: Model,
    data: StepData,
    baked: tuple[int, int],
    target: Target,
    prefix: str,
    called: tuple[str, str],
    level: int = 0,
    linkage: str = "",
) -> str:
    """Definitions of `state_run` and `state_workspace_size`. baked: the offsets of the prepared block of the
    exported weights, and of constants, in the data. called: the native functions that predict and prepare.
    level: of the target, from 0."""
    step = _step(model)
    word = target.pointer_bytes
    checks = null_checks("inputs", len(model.inputs), word) + null_checks("outputs", len(model.outputs), word)
    words = {
        "STATE_PARAMETER": " ptr %state,",
        "CHECKS": checks + _state_checks(step),
        "ENDS": _ENDS,
        **draw_words(model, word),
    }
    if prepares(model):
        words |= {
            "DECLARED": f"declare i32 @{called[1]}(i64, ptr, ptr, ptr, ptr, ptr, ptr, ptr)\n{_COPY}",
            "PREPARED_IN": "%state",
            "BEFORE": _PREPARE.format(
                level=level + 1,
                data=_DATA,
                baked=baked[0],
                words=round_up(model.program.prepared) // 8,
                prepare=called[1],
            ),
        }
    at = offsets_of(step.state)[1] if prepares(model) else baked[0]
    before = called[1] if prepares(model) else ""
    call = Call(prefix, "state_workspace_size", "state_run", called[0], linkage, before)
    return call_ir(call, target, model.batch, (at, baked[1]), data.predicted, **words)


def _state_checks(step: Step) -> str:
    """Code that goes to label null, or unready, for what is no state."""
    return f"""  %state.none = icmp eq ptr %state, null
  br i1 %state.none, label %null, label %state.there
state.there:
  %state.at = ptrtoint ptr %state to i64
  %state.odd = and i64 %state.at, {ALIGNMENT - 1}
  %state.uneven = icmp ne i64 %state.odd, 0
  br i1 %state.uneven, label %unready, label %state.even
state.even:
  %state.head = load i64, ptr %state, align 8
  %state.known = icmp eq i64 %state.head, {magic(step.state)}
  br i1 %state.known, label %state.good, label %unready
state.good:
"""


_ENDS = f"unready:\n  ret i32 {BAD_STATE}"
# What was prepared of a state is no longer that of its tensors
_STALE = """  %level.at = getelementptr i8, ptr %state, i64 8
  %level = load i64, ptr %level.at, align 8
  %level.minus = sub i64 0, %level
  %level.made = icmp sgt i64 %level, 0
  %level.now = select i1 %level.made, i64 %level.minus, i64 %level
  store i64 %level.now, ptr %level.at, align 8"""
_PREPARE = """  %made.at = getelementptr i8, ptr %state, i64 8
  %made = load i64, ptr %made.at, align 8
  %made.now = icmp eq i64 %made, {level}
  br i1 %made.now, label %ready, label %stale
stale:
  %made.here = icmp eq i64 %made, -{level}
  br i1 %made.here, label %copied, label %copy
copy:
  %baked = getelementptr i8, ptr {data}, i64 {baked}
  call void @kc_copy(ptr %prepared, ptr %baked, i64 {words})
  br label %copied
copied:
  %preparing = call i32 @{prepare}(i64 1, ptr %inputs, ptr %outputs, ptr %variables, ptr %prepared,
                                   ptr %constants, ptr %arena, ptr %pool)
  store i64 {level}, ptr %made.at, align 8
  br label %ready
ready:"""
_COPY = """define internal void @kc_copy(ptr %to, ptr %from, i64 %words) {
entry:
  br label %test
test:
  %i = phi i64 [ 0, %entry ], [ %next, %body ]
  %more = icmp ult i64 %i, %words
  br i1 %more, label %body, label %done
body:
  %from.at = getelementptr i64, ptr %from, i64 %i
  %value = load i64, ptr %from.at, align 8
  %to.at = getelementptr i64, ptr %to, i64 %i
  store i64 %value, ptr %to.at, align 8
  %next = add i64 %i, 1
  br label %test
done:
  ret void
}"""


# ---------------------------------------------------------------- what all targets have in common


def state_ir(model: Model, data: StepData, size: int, target: Target) -> tuple[str, list[str]]:
    """The C interface but for what `step_ir` and `state_run_ir` define, and the names of all of it. size:
    bytes of a state."""
    step, prefix = _step(model), prefix_of(model)
    (results,) = step.outputs
    offsets, _ = offsets_of(step.state)
    pieces, resets = [f"{_PIECE} {{ i64 0, i64 -1, i64 {HEAD // 8} }}"], []
    for at, value, tensor in zip(offsets, data.values, step.state):
        words = round_up(tensor.value.nbytes) // 8
        piece = f"{_PIECE} {{ i64 {at}, i64 {-1 if value is None else value}, i64 {words} }}"
        pieces.append(piece)
        resets += [piece] if tensor.resets else []
    width = len(step.sample.outputs[0]) * BYTES[results.type.dtype]
    sample_inputs: list[Place | None] = [(_DATA, at) for at in data.inputs]
    text = filled(
        _FOLDER / "c_state.ll",
        PREFIX=prefix,
        MAGIC=magic(step.state),
        BAD_STATE=BAD_STATE,
        **common_words(target),
        SIZE=size,
        COUNT=len(step.state),
        PLACES=max(len(offsets), 1),
        OFFSETS=", ".join(f"i64 {at}" for at in offsets or (-1,)),
        PIECES=len(pieces),
        PIECE_ROWS=", ".join(pieces),
        RESETS=len(resets),
        RESET_ROWS=", ".join(resets),
        STATE_CHECKS=_state_checks(step),
        STATE_ENDS=_ENDS,
        STALE=_STALE,
        SAMPLES=step.sample.n,
        INPUTS=max(len(step.inputs), 1),
        INPUT_TABLE=pointers("inputs", [*sample_inputs, *[None] * step.weights], target.pointer_bytes),
        RESULT_BYTES=round_up(width),
        RESULT_STEP=width,
        SELFTEST_ROUNDED=size + round_up(width) + ALIGNMENT,
        STEPS=len(step.sample.outputs),
        EXPECTED=data.expected,
        DTYPE=results.type.dtype,
        WORD=target.pointer_bytes,
        TOLERANCE=tolerance(step.sample.tolerance, target),
        TELL=told("%most", target),
        REAL=real_of(target),
        BITS=SUFFIX[real_of(target)],
    )
    tables = [
        *describe(prefix, "state", [Tensor(t.name, t.type) for t in step.state]),
        *describe(prefix, "train_input", step.inputs),
        *describe(prefix, "train_output", step.outputs),
    ]
    parts = [text, compare_ir(results.type.dtype, target), *tables]
    return "\n".join(parts), [f"{prefix}_{name}" for name in NAMES]


_PIECE = "%kc.piece"


def _step(model: Model) -> Step:
    assert model.step is not None, f"model {model.name} has no training step"
    return model.step


# ---------------------------------------------------------------- the header


def header_part(model: Model, web: bool) -> str:
    """What the header says of a training step. web: how it is called from JavaScript."""
    step = _step(model)
    inputs = [f"   {i}: {comment(f'{t.type} {t.name}')}" for i, t in enumerate(step.inputs)]
    if step.weights:
        which = "The last is" if step.weights == 1 else f"The last {step.weights} are"
        inputs.append(f"   {which} weights of samples; NULL: each counts as 1.")
    words = {
        "CALL": _FROM_JAVASCRIPT if web else _CALL,
        "INPUTS": "\n".join(inputs),
        "OUTPUT": comment(str(step.outputs[0].type)),
        "RESULTS": "\n".join(_results(step)),
        "DRAW": ", uint64_t draw" if model.draws is not None else "",
    }
    text = _HEADER
    for word, value in words.items():
        text = text.replace(f"@{word}@", value)
    return text


def _results(step: Step) -> Iterator[str]:
    """What each element of the results is."""
    report, place = step.report, 1
    names, kept = report["names"], report["kept"]
    assert isinstance(names, list) and isinstance(kept, dict)
    yield "   0: loss, the mean over the batch"
    for name in names[1:]:
        size = math.prod(kept[name]) if name in kept else 2
        at = str(place) if size == 1 else f"{place} to {place + size - 1}"
        what = "over the batches since ..._metrics_reset" if name in kept else "total and count"
        yield f"   {at}: {comment(name)}, {what}"
        place += size


_CALL = """\
   int64_t size = kc_@NAME@_state_size();
   void *state = aligned_alloc(64, (size + 63) / 64 * 64);
   kc_@NAME@_state_init(state, size);
   for (...) kc_@NAME@_train(n, inputs, outputs, state, workspace, workspace_size, NULL);
   kc_@NAME@_state_run(n, x, y, state, workspace, workspace_size, NULL);"""
_FROM_JAVASCRIPT = """\
   The package that `kcompile build --npm --train` writes does all of it from JavaScript."""

_HEADER = """
/* ---- Training

   A state holds all that training changes: weights, what the optimizer keeps of them, its learning rate, the
   number of the step, the seed of random numbers. It is the caller's memory, aligned to 64 bytes. Weights
   of frozen layers are in the file.

@CALL@

   Calls with the same state must not run at the same time. A state may be copied, moved and stored. */
int64_t kc_@NAME@_state_size(void);
int kc_@NAME@_state_init(void *state, int64_t state_size); /* as the model was when it was exported */

/* The tensors of a state: name, dtype and shape, NULL for an index out of range; and where each begins in the
   state, in bytes, -1 for an index out of range. They lie there alike on all targets. Who writes to one calls
   ..._state_changed after it. */
int kc_@NAME@_state_count(void);
const kc_tensor *kc_@NAME@_state(int index);
int64_t kc_@NAME@_state_offset(int index);
int kc_@NAME@_state_changed(void *state);

/* Metrics that keep values over batches begin anew. */
int kc_@NAME@_metrics_reset(void *state);

/* One step of training: forward, backward, update of the state. The inputs:
@INPUTS@
   Output 0 is @OUTPUT@, of the weights before the update:
@RESULTS@
   Workspace and statuses are as of ..._run; where the status is not KC_OK, the state is as before. */
int kc_@NAME@_train_input_count(void);
int kc_@NAME@_train_output_count(void);
const kc_tensor *kc_@NAME@_train_input(int index);
const kc_tensor *kc_@NAME@_train_output(int index);
int64_t kc_@NAME@_train_workspace_size(int64_t n, int threads);
int kc_@NAME@_train(int64_t n, const void *const *inputs, void *const *outputs, void *state,
                    void *workspace, int64_t workspace_size, void *pool);

/* Predict as ..._run does, with the weights of a state. */
int64_t kc_@NAME@_state_workspace_size(int64_t n, int threads);
int kc_@NAME@_state_run(int64_t n, const void *const *inputs, void *const *outputs, void *state,
                        void *workspace, int64_t workspace_size, void *pool@DRAW@);

/* Train on the sample in the file, from the exported state, and compare the losses with those in the file, as
   ..._selftest does. */
int64_t kc_@NAME@_train_selftest_size(void);
int kc_@NAME@_train_selftest(void *workspace, int64_t workspace_size, double *max_error);
"""
