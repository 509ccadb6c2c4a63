"""The only code that opens model files. Data only: nothing in a file is run, imported or followed.

Enters: a path. Leaves: parsed JSON or YAML, arrays, a checked .keras archive, a checked HDF5 file or
set of shards. Whatever is wrong with a file raises ModelError: another type is named for what it is, a
file that cannot be read to its end is damaged, and what could lead out of the file (links, external
storage, references, YAML tags) or blow it up (sizes, depth, aliases) is refused before it is followed.
The caps are in `limits`.
"""

from kcompile.files.reader.archives import KerasArchive, is_archive_of_arrays, open_keras, read_arrays
from kcompile.files.reader.hdf5 import Hdf5, Stored
from kcompile.files.reader.json_texts import parse_json, read_json
from kcompile.files.reader.kinds import check_kind, kind_of, read_text
from kcompile.files.reader.limits import PathLike
from kcompile.files.reader.opening import open_hdf5
from kcompile.files.reader.shards import is_index, open_shards
from kcompile.files.reader.states import read_state
from kcompile.files.reader.yaml_texts import parse_yaml, read_yaml

__all__ = [
    "Hdf5",
    "KerasArchive",
    "PathLike",
    "Stored",
    "check_kind",
    "is_archive_of_arrays",
    "is_index",
    "kind_of",
    "open_hdf5",
    "open_keras",
    "open_shards",
    "parse_json",
    "parse_yaml",
    "read_arrays",
    "read_json",
    "read_state",
    "read_text",
    "read_yaml",
]
