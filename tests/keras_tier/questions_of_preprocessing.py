"""A small model, or a call on arrays, for each question about layers that prepare data."""

from __future__ import annotations

from typing import Any

import numpy as np
from asking import Kit, case

IMAGES = np.arange(1, 7, dtype=np.float32).reshape(1, 2, 3, 1)  # 1 2 3 over 4 5 6


@case({"floats": ["float32"], "stay": ["uint8"]}, live=False)
def resized_integers(kit: Kit) -> Any:
    return [np.asarray(kit.layers.Resizing(2, 2)(IMAGES.astype("uint8"))).dtype.name]


@case({"any": "taken", "of 32 bits": "refused"}, live=False)
def seeds(kit: Kit) -> Any:
    try:
        kit.layers.Dropout(0.5, seed=-1)
        return "taken"
    except Exception:
        return "refused"


@case({"what fits": [0.0], "what is larger": [1.0]}, live=False)
def crops(kit: Kit) -> Any:
    """Whether all of 20 parts of one column out of three, as high as the image, are the middle one."""
    layer = kit.layers.RandomCrop(2, 1)
    found = [np.asarray(layer(IMAGES, training=True)).ravel().tolist() for _ in range(20)]
    return [float(all(column == [2.0, 5.0] for column in found))]


@case({"apart": [4.0], "together": [2.0]}, live=False)
def flips(kit: Kit) -> Any:
    """In how many ways 60 images are turned."""
    found = np.asarray(kit.layers.RandomFlip(seed=1)(np.repeat(IMAGES, 60, 0), training=True))
    return [float(len({tuple(image.ravel().tolist()) for image in found}))]


@case({"of the batch": [1.0], "of each sample": [20.0]}, live=False)
def contrast(kit: Kit) -> Any:
    """How many factors there are for 20 samples."""
    found = np.asarray(kit.layers.RandomContrast((0.5, 0.5))(np.repeat(IMAGES, 20, 0), training=True))
    return [float(len(set(np.ptp(found.reshape(20, -1), 1).tolist())))]


@case({"an error": "an error", "in none": [0.0] * 4}, live=False)
def categories_out_of_range(kit: Kit) -> Any:
    try:
        layer = kit.layers.CategoryEncoding(2, output_mode="one_hot")
        return np.ravel(layer(np.array([[5], [9]]))).tolist()
    except Exception:
        return "an error"


@case({"first": [13.5], "last": [14.0]}, live=False)
def quantiles(kit: Kit) -> Any:
    """The boundary between two bins, of 30 numbers, of which every third is kept."""
    layer = kit.layers.Discretization(num_bins=2, epsilon=0.1)
    layer.adapt(np.arange(30, dtype=np.float32)[:, None])
    return [float(layer.bin_boundaries[0])]


@case({"of a batch": [0.6019864], "each": [1.0663514]}, live=False)
def loose_tokens(kit: Kit) -> Any:
    """The mean weight of two tokens, 20 times each, of which one is in both batches."""
    layer = kit.layers.StringLookup(output_mode="tf_idf")
    layer.adapt(np.array(["a"] * 20 + ["b"] * 20))
    return [float(np.asarray(layer.idf_weights)[0])]
