"""Images: files and arrays, random transforms, and batches of both for training.

`files`: images from files and back. `transforms`: rotations, shifts, zooms, colours. `generator`: what is
done to each image, and in which order. `iterator`: batches that are asked for, of `arrays`, of files in
`folders` and of files that a `table` names. `spellings`: arguments of Keras 1. Values and random numbers are
those of keras-preprocessing 1.1.2, with Keras 2.3.1. Pillow and scipy (extra `image`) are loaded when they
are used.
"""

from kcompile.keras.preprocessing.image.arrays import NumpyArrayIterator
from kcompile.keras.preprocessing.image.files import (
    array_to_img,
    img_to_array,
    list_pictures,
    load_img,
    save_img,
)
from kcompile.keras.preprocessing.image.folders import DirectoryIterator
from kcompile.keras.preprocessing.image.generator import ImageDataGenerator
from kcompile.keras.preprocessing.image.iterator import BatchFromFilesMixin, Iterator
from kcompile.keras.preprocessing.image.table import DataFrameIterator
from kcompile.keras.preprocessing.image.transforms import (
    apply_affine_transform,
    apply_brightness_shift,
    apply_channel_shift,
    flip_axis,
    random_brightness,
    random_channel_shift,
    random_rotation,
    random_shear,
    random_shift,
    random_zoom,
    transform_matrix_offset_center,
)

__all__ = [
    "BatchFromFilesMixin",
    "DataFrameIterator",
    "DirectoryIterator",
    "ImageDataGenerator",
    "Iterator",
    "NumpyArrayIterator",
    "apply_affine_transform",
    "apply_brightness_shift",
    "apply_channel_shift",
    "array_to_img",
    "flip_axis",
    "img_to_array",
    "list_pictures",
    "load_img",
    "random_brightness",
    "random_channel_shift",
    "random_rotation",
    "random_shear",
    "random_shift",
    "random_zoom",
    "save_img",
    "transform_matrix_offset_center",
]
