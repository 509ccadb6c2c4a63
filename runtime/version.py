"""The version of kcompile and of its runtime, which are released together: the one place that says it."""

__version__ = "0.1.0"
