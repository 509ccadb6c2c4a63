"""The version. setup.py writes it here in a wheel: a compiler knows with which runtime it was built."""

from kcompile_runtime.version import __version__ as __version__
