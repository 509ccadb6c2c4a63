"""What to write instead of names of TensorFlow that are not here."""

from __future__ import annotations

_STRINGS = "models take numbers: make them from text in Python, or by TextVectorization, before"
_READ = "read files in Python, or by keras.utils (load_img, image_dataset_from_directory)"
_COMPLEX = "complex numbers are not supported"
_RAGGED = "pad sequences to one length: keras.utils.pad_sequences, Dataset.padded_batch"
_SPARSE = "write it over dense tensors"
_LAYERS = "use the layers of keras.layers, or keras.ops"
_LOOP = "use Model.fit, or a class with a train_step of its own"

REMEDIES: dict[str, str] = {
    "gradients": _LOOP,
    "hessians": _LOOP,
    "RaggedTensor": _RAGGED,
    "ragged": _RAGGED,
    "SparseTensor": _SPARSE,
    "sparse": _SPARSE,
    "IndexedSlices": _SPARSE,
    "strings": _STRINGS,
    "lookup": "use keras.layers.IntegerLookup, or a dict of Python's on values",
    "feature_column": "use the layers of keras.layers: Normalization, CategoryEncoding, Discretization",
    "estimator": _LOOP,
    "io": _READ,
    "audio": "read sounds by scipy.io.wavfile",
    "complex": _COMPLEX,
    "saved_model": "use Model.save (.keras) or kcompile.export",
    "lite": "use kcompile.export, which writes a library for a target",
    "train": "use keras.callbacks.ModelCheckpoint, BackupAndRestore and Model.save_weights",
    "distribute": "a model runs on one device, which its target names",
    "tpu": "a model runs on one device, which its target names",
    "quantization": "weights are float32 or float64",
    "raw_ops": _LAYERS,
    "data.FixedLengthRecordDataset": "Dataset.from_tensor_slices of numpy.fromfile",
    "nn.sampled_softmax_loss": "use the whole softmax",
    "nn.nce_loss": "use the whole softmax",
    "linalg.eig": "complex numbers are not supported: use tf.linalg.eigh of a symmetric matrix",
    "linalg.lu": "use tf.linalg.solve, or keras.ops.lu_factor",
    "signal": "complex numbers are pairs of keras.ops.fft, rfft, stft and their inverses",
}


def why_absent(path: str, same: bool) -> str:
    """What to write instead of tensorflow.PATH. same: whether K has a function of the name."""
    name = path.rpartition(".")[2]
    parts = path.split(".")
    known = (".".join(parts[:count]) for count in range(len(parts), 0, -1))
    remedy = next((REMEDIES[one] for one in known if one in REMEDIES), None)
    if remedy is None:
        remedy = f"write K.{name}, of keras.backend" if same else _LAYERS
    return f"tensorflow.{path}: the tensorflow of `kcompile run` does not have it; {remedy}"
