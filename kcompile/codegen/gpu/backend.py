"""The back end for graphics processors: what `codegen.lower` asks of it."""

from kcompile.codegen.gpu.persistent import lower_persistent as lower_persistent
from kcompile.codegen.gpu.schedules import lower_group as lower_group
