"""Contractions on processors: tiles, panels, the micro-kernel, and the algorithms beside it."""
