"""Further functions of tf.nn, tf.math, tf.linalg, tf.signal and tf.image, made of those of keras.ops: see
`functions`."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from kcompile.tensorflow.files import decode_jpeg, encode_jpeg
from kcompile.tensorflow.functions import o, of_values
from kcompile.tensorflow.networks import channels_of, conv, inner, rates, sigmoid_loss
from kcompile_runtime.errors import InputError, UnsupportedError, describe

# ---------------------------------------------------------------- networks


def conv1d(
    input: Any,
    filters: Any,
    stride: Any,
    padding: Any,
    data_format: str = "NWC",
    dilations: Any = None,
    name: Any = None,
) -> Any:
    """The convolution of sequences with kernels [steps, channels, filters]."""
    step, rate = (d if isinstance(d, int) else int(np.max(d)) for d in (stride, dilations or 1))
    return o.conv(input, filters, step, padding.lower(), channels_of(data_format), rate)


def conv3d(
    input: Any,
    filters: Any,
    strides: Any,
    padding: Any,
    data_format: str = "NDHWC",
    dilations: Any = None,
    name: Any = None,
) -> Any:
    """The convolution of volumes with kernels [depth, rows, columns, channels, filters]."""
    return conv(input, filters, strides, padding, data_format, dilations)


def depthwise_conv2d(
    input: Any,
    filter: Any,
    strides: Any,
    padding: Any,
    data_format: Any = None,
    dilations: Any = None,
    name: Any = None,
) -> Any:
    """Each channel convolved with kernels of its own [rows, columns, channels, multiplier]."""
    layout = data_format or "NHWC"
    step, rate = inner(strides, layout), rates(dilations, layout)
    return o.depthwise_conv(input, filter, step, padding.lower(), channels_of(layout), rate)


def separable_conv2d(
    input: Any,
    depthwise_filter: Any,
    pointwise_filter: Any,
    strides: Any,
    padding: Any,
    data_format: Any = None,
    dilations: Any = None,
    name: Any = None,
) -> Any:
    """`depthwise_conv2d`, whose channels a kernel of one tap mixes."""
    made = depthwise_conv2d(input, depthwise_filter, strides, padding, data_format, dilations)
    return o.conv(made, pointwise_filter, 1, "valid", channels_of(data_format or "NHWC"))


def conv_transposed(rank: int) -> Any:
    def transposed(
        input: Any,
        filters: Any,
        output_shape: Any,
        strides: Any,
        padding: str = "SAME",
        data_format: Any = None,
        dilations: Any = None,
        name: Any = None,
    ) -> Any:
        """The transpose of a convolution, with kernels [taps.., filters, channels], of this shape."""
        layout = data_format or "N" + "DHW"[-rank:] + "C"
        step = inner(strides, layout)
        made = o.conv_transpose(
            input, filters, step, padding.lower(), None, channels_of(layout), rates(dilations, layout)
        )
        wanted = [d if isinstance(d, (int, np.integer)) else None for d in list(output_shape)[1:]]
        got = list(made.shape)[1:]
        if any(a is not None and int(a) != b for a, b in zip(wanted, got)):
            raise UnsupportedError(
                f"tensorflow.nn.conv{rank}d_transpose: output_shape {wanted} where the strides give {got}. "
                "Pad what it gives, or use keras.layers.Conv2DTranspose with output_padding"
            )
        return made

    return transposed


def weighted_sigmoid_loss(labels: Any, logits: Any, pos_weight: Any, name: Any = None) -> Any:
    """The crossentropy with the sigmoid of logits, of which positive labels count pos_weight times."""
    rest = sigmoid_loss(labels=o.zeros_like(logits), logits=o.negative(logits))  # -log of the sigmoid
    share = o.add(1.0, o.multiply(o.subtract(pos_weight, 1.0), labels))
    return o.add(o.multiply(o.subtract(1.0, labels), logits), o.multiply(share, rest))


def lrn(
    input: Any,
    depth_radius: int = 5,
    bias: float = 1.0,
    alpha: float = 1.0,
    beta: float = 0.5,
    name: Any = None,
) -> Any:
    """Channels divided by a power of the squares of their neighbours."""
    squares, count = o.square(input), input.shape[-1]
    near = np.abs(np.subtract.outer(np.arange(count), np.arange(count))) <= depth_radius
    total = o.matmul(squares, near.astype("float32"))
    return o.divide(input, o.power(o.add(bias, o.multiply(alpha, total)), beta))


# ---------------------------------------------------------------- numbers


def polyval(coeffs: Any, x: Any, name: Any = None) -> Any:
    """A polynomial, whose coefficients begin with that of the highest power."""
    made = o.zeros_like(o.convert_to_tensor(x))
    for c in coeffs:
        made = o.add(o.multiply(made, x), c)
    return made


def lgamma(x: Any, name: Any = None) -> Any:
    """log |gamma(x)|, on values."""
    import math

    of_values("math.lgamma", "Write it over keras.ops", x)
    array = np.asarray(x)
    made = np.array([math.lgamma(v) for v in array.ravel().tolist()]).reshape(array.shape)
    return made.astype(array.dtype if array.dtype.kind == "f" and hasattr(x, "dtype") else "float32")


def cumulative_logsumexp(
    x: Any, axis: int = 0, exclusive: bool = False, reverse: bool = False, name: Any = None
) -> Any:
    """The logarithm of the sum of exponentials so far."""
    if exclusive:
        raise UnsupportedError("tensorflow.math.cumulative_logsumexp: exclusive")
    turned = o.flip(x, axis) if reverse else x
    most = o.max(turned, axis, True)
    made = o.add(o.log(o.cumsum(o.exp(o.subtract(turned, most)), axis)), most)
    return o.flip(made, axis) if reverse else made


def normalized(tensor: Any, ord: Any = "euclidean", axis: Any = None, name: Any = None) -> Any:
    """tf.linalg.normalize: the tensor divided by its length, and the length."""
    if ord not in ("euclidean", 2):
        raise UnsupportedError("tensorflow.linalg.normalize: ord other than 'euclidean'")
    length = o.sqrt(o.sum(o.square(tensor), axis, True))
    return o.divide(tensor, length), length


def expm(input: Any, name: Any = None) -> Any:
    """The exponential of matrices, on values: by scaling and squaring of a series."""
    of_values("linalg.expm", "Write it over keras.ops", input)
    given = np.asarray(input)
    array = given.astype(np.float64)
    size = np.abs(array).sum(-1).max(initial=0)
    halvings = max(0, int(np.ceil(np.log2(size))) + 1) if size else 0
    term = made = np.broadcast_to(np.eye(array.shape[-1]), array.shape)
    for k in range(1, 20):
        term = term @ (array / 2**halvings) / k
        made = made + term
    for _ in range(halvings):
        made = made @ made
    return made.astype(given.dtype)


def frame(
    signal: Any,
    frame_length: int,
    frame_step: int,
    pad_end: bool = False,
    pad_value: Any = 0,
    axis: int = -1,
    name: Any = None,
) -> Any:
    """Parts of a signal, frame_step apart; pad_end: those that it ends in too, filled up."""
    if axis not in (-1, len(signal.shape) - 1):
        raise UnsupportedError("tensorflow.signal.frame: axis other than the last. Use tf.transpose")
    length, size, step = int(signal.shape[-1]), int(frame_length), int(frame_step)
    count = -(-length // step) if pad_end else max(0, 1 + (length - size) // step)
    over = max(0, (count - 1) * step + size - length)
    if over:
        around = [(0, 0)] * (len(signal.shape) - 1)
        signal = o.pad(signal, [*around, (0, over)], constant_values=pad_value)
    places = np.arange(count)[:, None] * step + np.arange(size)
    return o.take(signal, places.astype("int32"), -1)


def _window(name: str) -> Any:
    a, b = {"hann": (0.5, 0.5), "hamming": (0.54, 0.46)}[name]

    def window(window_length: int, periodic: bool = True, dtype: Any = "float32", name: Any = None) -> Any:
        """Weights of the steps of a part, that fall off to both sides."""
        count = int(window_length)
        if count == 1:
            return np.ones(1, str(dtype))
        places = np.arange(count) / (count if periodic else count - 1)
        return (a - b * np.cos(2 * np.pi * places)).astype(str(dtype))

    return window


# ---------------------------------------------------------------- images

_YUV = np.array(
    [[0.299, 0.587, 0.114], [-0.14714119, -0.28886916, 0.43601035], [0.61497538, -0.51496512, -0.10001026]]
)
_YIQ = np.array(
    [[0.299, 0.587, 0.114], [0.59590059, -0.27455667, -0.32134392], [0.21153661, -0.52273617, 0.31119955]]
)


def _colours(table: np.ndarray) -> Any:
    weights = table.T.astype("float32")
    return lambda images: o.matmul(images, weights)


def adjust_gamma(image: Any, gamma: Any = 1, gain: Any = 1) -> Any:
    """gain * image^gamma, of fractions."""
    if not str(image.dtype).startswith("float"):
        raise UnsupportedError("tensorflow.image.adjust_gamma: whole numbers. Use convert_image_dtype before")
    return o.multiply(o.power(image, gamma), gain)


def adjust_jpeg_quality(image: Any, jpeg_quality: int, dct_method: str = "", name: Any = None) -> Any:
    """What is left of an image that was written as JPEG."""
    of_values("image.adjust_jpeg_quality", "Do it in Dataset.map", image)
    array = np.asarray(image)
    whole = array if array.dtype == np.uint8 else np.clip(array * 255.5, 0, 255).astype(np.uint8)
    found = np.asarray(decode_jpeg(encode_jpeg(whole, quality=int(jpeg_quality))))
    return found if array.dtype == np.uint8 else (found / np.float32(255)).astype(array.dtype)


def _overlap(a: np.ndarray, b: np.ndarray) -> float:
    """The share of two boxes (y, x, y, x) that both have."""
    lows, highs = np.minimum(a[:2], a[2:]), np.maximum(a[:2], a[2:])
    other_lows, other_highs = np.minimum(b[:2], b[2:]), np.maximum(b[:2], b[2:])
    both = np.prod(np.maximum(np.minimum(highs, other_highs) - np.maximum(lows, other_lows), 0))
    whole = np.prod(highs - lows) + np.prod(other_highs - other_lows) - both
    return float(both / whole) if whole > 0 else 0.0


def non_max_suppression(
    boxes: Any,
    scores: Any,
    max_output_size: Any,
    iou_threshold: float = 0.5,
    score_threshold: float = float("-inf"),
    name: Any = None,
) -> Any:
    """The numbers of the boxes that no better one overlaps by more than a share, the best first."""
    of_values("image.non_max_suppression", "Do it on what predict gives", boxes, scores)
    places, values = np.asarray(boxes), np.asarray(scores)
    kept: list[int] = []
    for at in np.argsort(-values, kind="stable"):
        if values[at] > score_threshold and len(kept) < int(max_output_size):
            if all(_overlap(places[at], places[k]) <= iou_threshold for k in kept):
                kept.append(int(at))
    return np.array(kept, np.int32)


def draw_bounding_boxes(images: Any, boxes: Any, colors: Any = None, name: Any = None) -> Any:
    """Images [n, rows, columns, channels] with the edges of boxes (y, x, y, x, as fractions) in colours."""
    of_values("image.draw_bounding_boxes", "Do it on what predict gives", images, boxes)
    made, places = np.array(images), np.asarray(boxes)
    table = [[1, 0, 0, 1]] if colors is None else np.asarray(colors)
    rows, columns = made.shape[1:3]
    for image, several in zip(made, places):
        for k, (top, left, bottom, right) in enumerate(several):
            colour = np.asarray(table[k % len(table)])[: made.shape[-1]]
            y0, y1 = (int(y * (rows - 1)) for y in (top, bottom))
            x0, x1 = (int(x * (columns - 1)) for x in (left, right))
            if y1 < 0 or x1 < 0 or y0 >= rows or x0 >= columns or y0 > y1 or x0 > x1:
                continue
            across, down = slice(max(x0, 0), x1 + 1), slice(max(y0, 0), y1 + 1)
            for y in (y0, y1):
                if 0 <= y < rows:
                    image[y, across] = colour
            for x in (x0, x1):
                if 0 <= x < columns:
                    image[down, x] = colour
    return made


def crop_and_resize(
    image: Any,
    boxes: Any,
    box_indices: Any,
    crop_size: Any,
    method: str = "bilinear",
    extrapolation_value: float = 0.0,
    name: Any = None,
) -> Any:
    """Parts of images, by boxes (y, x, y, x, as fractions of the distances of pixels), in one size."""
    of_values("image.crop_and_resize", "Use keras.layers.CenterCrop and Resizing in models", image, boxes)
    if method not in ("bilinear", "nearest"):
        raise InputError(describe("crop_and_resize: method", "'bilinear' or 'nearest'", repr(method)))
    array, (rows, columns) = np.asarray(image), (int(d) for d in crop_size)
    made = []
    for (top, left, bottom, right), number in zip(np.asarray(boxes), np.asarray(box_indices)):
        part = array[int(number)].astype(np.float32)
        ys = _places(top, bottom, rows, part.shape[0])
        xs = _places(left, right, columns, part.shape[1])
        inside = ((ys >= 0) & (ys <= part.shape[0] - 1))[:, None] & ((xs >= 0) & (xs <= part.shape[1] - 1))
        y, x = np.clip(ys, 0, part.shape[0] - 1), np.clip(xs, 0, part.shape[1] - 1)
        if method == "nearest":
            found = part[np.rint(y).astype(int)][:, np.rint(x).astype(int)]
        else:
            (y0, x0), (y1, x1) = (
                (f.astype(int) for f in (np.floor(y), np.floor(x))),
                (f.astype(int) for f in (np.ceil(y), np.ceil(x))),
            )
            across = (x - x0).astype(np.float32)[None, :, None]
            above = part[y0][:, x0] + (part[y0][:, x1] - part[y0][:, x0]) * across
            below = part[y1][:, x0] + (part[y1][:, x1] - part[y1][:, x0]) * across
            found = above + (below - above) * (y - y0).astype(np.float32)[:, None, None]
        made.append(np.where(inside[..., None], found, np.float32(extrapolation_value)))
    return np.stack(made).astype(np.float32)


def _places(first: Any, last: Any, count: int, size: int) -> np.ndarray:
    if count == 1:
        return np.array([0.5 * (first + last) * (size - 1)])
    return np.asarray(first * (size - 1) + np.arange(count) * (last - first) * (size - 1) / (count - 1))


FUNCTIONS: dict[str, Any] = {
    "nn.conv1d": conv1d,
    "nn.conv1d_transpose": conv_transposed(1),
    "nn.conv2d_transpose": conv_transposed(2),
    "nn.conv3d": conv3d,
    "nn.conv3d_transpose": conv_transposed(3),
    "nn.depthwise_conv2d": depthwise_conv2d,
    "nn.local_response_normalization": lrn,
    "nn.lrn": lrn,
    "nn.separable_conv2d": separable_conv2d,
    "nn.weighted_cross_entropy_with_logits": weighted_sigmoid_loss,
    "math.accumulate_n": lambda inputs, shape=None, tensor_dtype=None, name=None: o.sum(
        o.stack(list(inputs)), 0
    ),
    "math.cumulative_logsumexp": cumulative_logsumexp,
    "math.lgamma": lgamma,
    "math.polyval": polyval,
    "math.reduce_euclidean_norm": lambda input_tensor, axis=None, keepdims=False, name=None: o.sqrt(
        o.sum(o.square(input_tensor), axis, keepdims)
    ),
    "linalg.expm": expm,
    "linalg.normalize": normalized,
    "signal.frame": frame,
    "signal.hamming_window": _window("hamming"),
    "signal.hann_window": _window("hann"),
    "timestamp": lambda name=None: np.float64(time.time()),
    "image.adjust_gamma": adjust_gamma,
    "image.adjust_jpeg_quality": adjust_jpeg_quality,
    "image.crop_and_resize": crop_and_resize,
    "image.draw_bounding_boxes": draw_bounding_boxes,
    "image.non_max_suppression": non_max_suppression,
    "image.rgb_to_yiq": _colours(_YIQ),
    "image.rgb_to_yuv": _colours(_YUV),
    "image.transpose": lambda image, name=None: o.swapaxes(image, -3, -2),
    "image.yiq_to_rgb": _colours(np.linalg.inv(_YIQ)),
    "image.yuv_to_rgb": _colours(np.linalg.inv(_YUV)),
}
