"""keras.utils.bounding_boxes: boxes [..., 4] in one form or another, and how much two of them overlap.

Forms: corners ("xyxy", "yxyx"), a corner and the size ("xywh"), the middle and the size ("center_xywh",
"center_yxhw"), each but the last also as shares of the image ("rel_xyxy", ...).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from kcompile.keras import keras3_ops
from kcompile.keras.settings import epsilon
from kcompile_runtime.errors import ModelError, describe

__all__ = [
    "affine_transform",
    "clip_to_image_size",
    "compute_ciou",
    "compute_iou",
    "convert_format",
    "crop",
    "decode_deltas_to_boxes",
    "encode_box_to_deltas",
    "pad",
]

o = cast(Any, keras3_ops)
Parts = Sequence[Any]
# A form -> corners (x1, y1, x2, y2) of its numbers, and its numbers of the corners
_TO: dict[str, Callable[..., Parts]] = {
    "xyxy": lambda a, b, c, d: (a, b, c, d),
    "yxyx": lambda a, b, c, d: (b, a, d, c),
    "xywh": lambda x, y, w, h: (x, y, x + w, y + h),
    "center_xywh": lambda x, y, w, h: (x - w / 2.0, y - h / 2.0, x + w / 2.0, y + h / 2.0),
    "center_yxhw": lambda y, x, h, w: (x - w / 2.0, y - h / 2.0, x + w / 2.0, y + h / 2.0),
}
_FROM: dict[str, Callable[..., Parts]] = {
    "xyxy": lambda a, b, c, d: (a, b, c, d),
    "yxyx": lambda a, b, c, d: (b, a, d, c),
    "xywh": lambda a, b, c, d: (a, b, c - a, d - b),
    "center_xywh": lambda a, b, c, d: (a + (c - a) / 2.0, b + (d - b) / 2.0, c - a, d - b),
    "center_yxhw": lambda a, b, c, d: (b + (d - b) / 2.0, a + (c - a) / 2.0, d - b, c - a),
}
FORMS = (*_TO, *(f"rel_{name}" for name in ("xyxy", "yxyx", "xywh", "center_xywh")))


def _split(boxes: Any) -> list[Any]:
    return list(o.split(boxes, 4, axis=-1))


def _joined(parts: Parts) -> Any:
    return o.concatenate(list(parts), axis=-1)


def _form(what: str, value: Any) -> str:
    name = value.lower() if isinstance(value, str) else value
    if name not in FORMS:
        raise ModelError(describe(what, ", ".join(FORMS), repr(value)))
    return str(name)


def convert_format(
    boxes: Any, source: str, target: str, height: Any = None, width: Any = None, dtype: str = "float32"
) -> Any:
    """Boxes in another form. height, width: of the image, which shares ("rel_") need. A dict's "boxes" are
    converted."""
    if isinstance(boxes, dict):
        boxes["boxes"] = convert_format(boxes["boxes"], source, target, height, width, dtype)
        return boxes
    if o.shape(boxes)[-1] != 4:
        raise ValueError(f"`boxes` must have a last axis of 4. Received: {o.shape(boxes)}")
    source, target = _form("source", source), _form("target", target)
    shares = [name.startswith("rel_") for name in (source, target)]
    if any(shares) and (height is None or width is None):
        raise ValueError("shares of an image (rel_...) need its height and width")
    boxes = o.cast(boxes, dtype)
    if source == target:
        return boxes
    corners = list(_TO[source.removeprefix("rel_")](*_split(boxes)))
    if shares[0] and not shares[1]:
        corners = [c * (width, height)[i % 2] for i, c in enumerate(corners)]
    elif shares[1] and not shares[0]:
        corners = [c / (width, height)[i % 2] for i, c in enumerate(corners)]
    return _joined(_FROM[target.removeprefix("rel_")](*corners))


def _only(given: str, *forms: str) -> None:
    if given not in forms:
        raise ModelError(describe("bounding_box_format", " or ".join(map(repr, forms)), repr(given)))


def clip_to_image_size(
    bounding_boxes: Mapping[str, Any],
    height: Any = None,
    width: Any = None,
    bounding_box_format: str = "xyxy",
) -> dict[str, Any]:
    """{"boxes": ..., "labels": ...} with boxes cut at the edges; labels of boxes without area become -1."""
    _only(bounding_box_format, "xyxy", "rel_xyxy")
    if bounding_box_format == "xyxy" and (height is None or width is None):
        raise ValueError("boxes of pixels need the height and width of the image")
    ends = (width, height) if bounding_box_format == "xyxy" else (1.0, 1.0)
    corners = [o.clip(c, 0, ends[i % 2]) for i, c in enumerate(_split(bounding_boxes["boxes"]))]
    made = {**bounding_boxes, "boxes": _joined(corners)}
    if made.get("labels") is not None:
        area = o.squeeze((corners[2] - corners[0]) * (corners[3] - corners[1]), -1)
        made["labels"] = o.where(area > 0, made["labels"], -1)
    return made


def crop(boxes: Any, top: Any, left: Any, height: Any, width: Any, bounding_box_format: str = "xyxy") -> Any:
    """Boxes in a part of an image."""
    _only(bounding_box_format, "xyxy")
    moved = [c - (left, top)[i % 2] for i, c in enumerate(_split(boxes))]
    return _joined([o.clip(c, 0, (width, height)[i % 2]) for i, c in enumerate(moved)])


def pad(
    boxes: Any, top: Any, left: Any, height: Any = None, width: Any = None, bounding_box_format: str = "xyxy"
) -> Any:
    """Boxes in an image that has more rows above and columns to the left. height, width: change nothing."""
    _only(bounding_box_format, "xyxy")
    return _joined([c + (left, top)[i % 2] for i, c in enumerate(_split(boxes))])


def affine_transform(
    boxes: Any,
    angle: Any,
    translate_x: Any,
    translate_y: Any,
    scale: Any,
    shear_x: Any,
    shear_y: Any,
    height: Any,
    width: Any,
    center_x: Any = None,
    center_y: Any = None,
    bounding_box_format: str = "xyxy",
) -> Any:
    """The boxes around boxes [batch, n, 4] that are turned (degrees), moved (shares of the image), scaled and
    sheared with the image; each of these a number for each sample."""
    _only(bounding_box_format, "xyxy")
    angle, shear_x, shear_y = (o.multiply(v, -math.pi / 180) for v in (angle, shear_x, shear_y))
    cx, cy = ((0.5 if c is None else c) * (d - 1) for c, d in ((center_x, width), (center_y, height)))
    tx, ty = o.multiply(translate_x, 1 - width), o.multiply(translate_y, 1 - height)
    a, c = o.cos(angle - shear_y) / o.cos(shear_y), -o.sin(angle - shear_y) / o.cos(shear_y)
    b, d = a * o.tan(shear_x) + o.sin(angle), o.cos(angle) - c * o.tan(shear_x)
    rows = [(d * scale, -b * scale), (-c * scale, a * scale)]
    places = [
        [o.reshape(v, (-1, 1)) for v in (one, other, middle - one * (cx + tx) - other * (cy + ty))]
        for (one, other), middle in zip(rows, (cx, cy))
    ]
    x1, y1, x2, y2 = (o.squeeze(p, -1) for p in _split(boxes))
    corners = [(x1, y1), (x2, y1), (x2, y2), (x1, y2)]
    moved = [
        o.stack([x * one + y * other + rest for x, y in corners], axis=-1) for one, other, rest in places
    ]
    low, high = ([o.expand_dims(pick(m, axis=-1), -1) for m in moved] for pick in (o.min, o.max))
    return _joined([*low, *high])


# ---------------------------------------------------------------- overlaps


def _sizes(image_shape: Any) -> tuple[Any, Any]:
    return (None, None) if image_shape is None else (image_shape[0], image_shape[1])


def compute_iou(
    boxes1: Any,
    boxes2: Any,
    bounding_box_format: str,
    use_masking: bool = False,
    mask_val: Any = -1,
    image_shape: Any = None,
) -> Any:
    """The area that each two boxes [n, 4] and [m, 4] (or of batches) share, by that of both together: [n, m].
    use_masking: where a box has no number above 0, mask_val."""
    ranks = [len(o.shape(b)) for b in (boxes1, boxes2)]
    if any(rank not in (2, 3) for rank in ranks):
        raise ValueError(f"compute_iou: expected boxes of rank 2 or 3. Received: ranks {ranks}")
    height, width = _sizes(image_shape)
    boxes = [convert_format(b, bounding_box_format, "yxyx", height, width) for b in (boxes1, boxes2)]
    one = _split(boxes[0])
    other = [o.swapaxes(part, -1, -2) for part in _split(boxes[1])]
    zero = o.zeros_like(one[0])
    sides = [
        o.maximum(o.minimum(one[k + 2], other[k + 2]) - o.maximum(one[k], other[k]), zero) for k in (0, 1)
    ]
    shared = sides[0] * sides[1]
    areas = [(p[2] - p[0]) * (p[3] - p[1]) for p in (one, other)]
    made = shared / (areas[0] + areas[1] - shared + epsilon())
    if not use_masking:
        return made
    empty = [o.less(o.max(b, axis=-1, keepdims=True), 0.0) for b in boxes]
    gone = o.logical_or(empty[0], o.swapaxes(empty[1], -1, -2))
    return o.where(gone, float(mask_val), made)


def compute_ciou(boxes1: Any, boxes2: Any, bounding_box_format: str, image_shape: Any = None) -> Any:
    """The overlap of pairs of boxes, less for the distance of their middles and for other ratios of their
    sides (Zheng and others, 2021)."""
    if "rel" in str(bounding_box_format):
        raise ValueError("compute_ciou: boxes of pixels. Convert shares of an image by convert_format")
    height, width = _sizes(image_shape)
    one, other = (
        _split(convert_format(b, bounding_box_format, "xyxy", height, width)) for b in (boxes1, boxes2)
    )
    small = epsilon()
    (w1, h1), (w2, h2) = ((p[2] - p[0], p[3] - p[1] + small) for p in (one, other))
    sides = [o.maximum(o.minimum(one[k + 2], other[k + 2]) - o.maximum(one[k], other[k]), 0) for k in (0, 1)]
    shared = sides[0] * sides[1]
    iou = shared / (w1 * h1 + w2 * h2 - shared + 2 * small)
    around = [o.maximum(one[k + 2], other[k + 2]) - o.minimum(one[k], other[k]) for k in (0, 1)]
    apart = [(one[k] + one[k + 2]) / 2.0 - (other[k] + other[k + 2]) / 2.0 for k in (0, 1)]
    distance = (o.square(apart[0]) + o.square(apart[1])) / (o.square(around[0]) + o.square(around[1]) + small)
    ratio = o.square(o.arctan(w2 / h2) - o.arctan(w1 / h1)) * (4 / math.pi**2)
    return o.squeeze(iou - (distance + ratio * (ratio / (ratio - iou + (1 + small)))), -1)


# ---------------------------------------------------------------- anchors


def _anchors(anchors: Any, form: str, encoding: str, image_shape: Any) -> Any:
    if encoding not in ("center_xywh", "center_yxhw"):
        raise ModelError(describe("encoding", "'center_xywh' or 'center_yxhw'", repr(encoding)))
    return convert_format(anchors, form, encoding, *_sizes(image_shape))


def _variance(variance: Any) -> Any:
    made = o.convert_to_tensor(variance, "float32")
    if o.shape(made)[-1] != 4:
        raise ValueError(f"`variance` must be of 4 numbers. Received: {variance}")
    return made


def encode_box_to_deltas(
    anchors: Any,
    boxes: Any,
    anchor_format: str,
    box_format: str,
    encoding_format: str = "center_yxhw",
    variance: Any = None,
    image_shape: Any = None,
) -> Any:
    """How boxes differ from anchors: middles by the size of the anchor, sizes as logarithms."""
    known = _anchors(anchors, anchor_format, encoding_format, image_shape)
    given = _anchors(boxes, box_format, encoding_format, image_shape)
    sizes, wanted = (o.maximum(b[..., 2:], epsilon()) for b in (known, given))
    made = _joined([(given[..., :2] - known[..., :2]) / sizes, o.log(wanted / sizes)])
    return made if variance is None else made / _variance(variance)


def decode_deltas_to_boxes(
    anchors: Any,
    boxes_delta: Any,
    anchor_format: str,
    box_format: str,
    encoded_format: str = "center_yxhw",
    variance: Any = None,
    image_shape: Any = None,
) -> Any:
    """The inverse of `encode_box_to_deltas`; of dicts, for each level."""
    if isinstance(anchors, dict) and isinstance(boxes_delta, dict):
        rest = (anchor_format, box_format, encoded_format, variance, image_shape)
        return {k: decode_deltas_to_boxes(a, boxes_delta[k], *rest) for k, a in anchors.items()}
    known = _anchors(anchors, anchor_format, encoded_format, image_shape)
    moves = boxes_delta if variance is None else boxes_delta * _variance(variance)
    made = _joined([moves[..., :2] * known[..., 2:] + known[..., :2], o.exp(moves[..., 2:]) * known[..., 2:]])
    return convert_format(made, encoded_format, box_format, *_sizes(image_shape))
