"""Random numbers: keys of JAX become streams of ours.

A key that comes from the state of a `keras.random.SeedGenerator` is another one in every call. It is no
number here: each key, and each shape that it draws, has a stream of its own, whose numbers follow from the
model's seed and the number of the call. A key that is known now draws the numbers of JAX.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from kcompile.ir import ops
from kcompile.ir.tensor import Tensor, as_tensor
from kcompile.ir.types import TensorType
from kcompile.jaxpr.keys import Bits, Key, State, boxed, known_key
from kcompile.jaxpr.programs import evaluate
from kcompile.jaxpr.replay import FUNCTIONS, OPAQUE, Equation, rule


def _one(value: Any) -> Any:
    """The only key of an array, or what is no array."""
    return value.item() if isinstance(value, np.ndarray) and value.dtype == object else value


# ---------------------------------------------------------------- states and keys


@rule("mul", "add", "convert_element_type", "copy", "copy_p", "stop_gradient", table=OPAQUE)
def _state(e: Equation, x: Any, y: Any = None) -> Any:
    """What Keras computes of the state of a seed generator: it is taken as it is, and counts on."""
    x, y = (y, x) if isinstance(x, np.ndarray) and x.dtype != object else (x, y)
    state = _one(x)
    if isinstance(state, Bits) or not isinstance(state, (State, Key)):
        raise e.refuse("random bits are used as numbers. Draw uniform or normal numbers by keras.random")
    if e.name == "add" and isinstance(state, State) and isinstance(y, np.ndarray):
        return boxed(State(state.path, state.draws + int(y.sum())))
    if e.name == "mul" and not (isinstance(y, np.ndarray) and (y == 1).all()):
        raise e.refuse("the state of a seed generator is computed with")
    return x


@rule("random_wrap", "random_unwrap", table=OPAQUE)
def _wrap(e: Equation, x: Any) -> Any:
    value = _one(x)
    if isinstance(value, State):
        return boxed(Key((*value.path, value.draws)))
    if isinstance(x, np.ndarray) and x.dtype != object:
        return known_key(evaluate(e.first, [x])[0])
    return x


@rule("random_seed", table=OPAQUE)
def _seed(e: Equation, seed: Any) -> Any:
    if not isinstance(seed, np.ndarray) or seed.dtype == object:
        raise e.refuse("a seed must be known when the model is compiled")
    return known_key(evaluate(e.first, [seed])[0])


@rule("random_split", table=OPAQUE)
def _split(e: Equation, key: Any) -> Any:
    shape, parent = e.first.params["shape"], _one(key)
    keys = np.empty(shape, object)
    values = None
    if parent.value is not None:
        values = evaluate(e.first, [parent.value])[0]
    for place in np.ndindex(*shape):
        keys[place] = Key((*parent.path, place), None if values is None else values[place])
    return keys


@rule("random_fold_in", table=OPAQUE)
def _fold_in(e: Equation, key: Any, data: Any) -> Any:
    parent = _one(key)
    if not isinstance(data, np.ndarray) or data.dtype == object:
        raise e.refuse("numbers that are folded into a key must be known when the model is compiled")
    if parent.value is None:
        return boxed(Key((*parent.path, "fold", int(data))))
    return boxed(Key((*parent.path, int(data)), evaluate(e.first, [parent.value, data])[0]))


# ---------------------------------------------------------------- numbers


@rule("random_bits", table=OPAQUE)
def _bits(e: Equation, key: Any) -> Any:
    found = _one(key)
    if found.value is not None and not e.varies:
        return np.asarray(evaluate(e.first, [found.value])[0])
    if int(e["bit_width"]) != 32:
        raise e.refuse("random numbers are of 32 bits")
    return Bits(_uniform(e, found, e.type))


def _uniform(e: Equation, key: Key, type: TensorType) -> Tensor:
    """Numbers in [0, 1) of a key: the same for the same key and shape."""
    replay = e.replay
    at = (key.path, type.shape)
    if at not in replay.drawn:
        if replay.trace is None:
            raise e.refuse(
                "random numbers are drawn inside a loop. Draw them before it, or in a loop over keys"
            )
        trace = replay.trace
        known = key.value is not None
        seed = as_tensor(trace.graph, hash(key.path) % 2**32, "uint32") if known else trace.seed()
        step = as_tensor(trace.graph, 0, "uint32") if known else trace.step
        replay.drawn[at] = ops.random_uniform(seed, step, trace.stream(), type.shape)
    return replay.drawn[at]


@rule("shift_right_logical", table=OPAQUE)
def _shift(e: Equation, bits: Any, by: Any) -> Any:
    if isinstance(bits, Bits) and bits.stage == 0 and isinstance(by, np.ndarray) and (by == 9).all():
        return Bits(bits.uniform, 1)
    raise e.refuse("random bits are used as numbers. Draw uniform or normal numbers by keras.random")


@rule("or", table=OPAQUE)
def _or(e: Equation, bits: Any, exponent: Any) -> Any:
    if isinstance(bits, Bits) and bits.stage == 1 and isinstance(exponent, np.ndarray):
        if (exponent == 0x3F800000).all():
            return Bits(bits.uniform, 2)
    raise e.refuse("random bits are used as numbers. Draw uniform or normal numbers by keras.random")


@rule("bitcast_convert_type", table=OPAQUE)
def _bitcast(e: Equation, bits: Any) -> Any:
    if isinstance(bits, Bits) and bits.stage == 2 and e.type.dtype == "float32":
        return bits.uniform + 1.0
    raise e.refuse("bits are taken for another type")


@rule("_randint", table=FUNCTIONS)
def _randint(e: Equation, key: Any, low: Any, high: Any) -> Sequence[Any] | None:
    """Whole numbers from low up to high, without high; JAX makes them of more bits. None for a key that is
    known."""
    found = _one(key)
    if not isinstance(found, Key) or (found.value is not None and not e.varies):
        return None
    replay, type = e.replay, e.type
    low, high = (replay.tensor(v, t, spread=False) for v, t in zip((low, high), e.input_types[1:]))
    first, span = ops.cast(low, "float32"), ops.cast(high - low, "float32")
    drawn = ops.floor(_uniform(e, found, type) * span) + first
    return [ops.cast(ops.minimum(drawn, first + span - 1.0), type.dtype)]
