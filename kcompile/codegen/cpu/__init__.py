"""Kernels of processors: loop nests over the elements of a group, and sparse rows."""
