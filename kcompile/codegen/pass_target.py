"""What passes ask of a target (`ir.passes.PassTarget`), answered by those who write its kernels."""

from __future__ import annotations

from dataclasses import dataclass

from kcompile.codegen.contraction.plan import in_halves, panel_width
from kcompile.codegen.contraction.winograd import choose_tiling
from kcompile.codegen.targets import Target
from kcompile.ir.contraction import Contraction


@dataclass(frozen=True)
class CodegenTarget:
    """A target as passes see it (`PassTarget`). A graphics processor has no way to leave an entry early, one
    result for each thread, and threads that read neighbouring columns."""

    target: Target

    @property
    def guards(self) -> bool:
        return not self.target.is_gpu

    @property
    def row_passes(self) -> bool:
        return not self.target.is_gpu

    @property
    def columns_last(self) -> bool:
        return self.target.is_gpu

    def panel_width(self, spec: Contraction, constant: bool, dtype: str) -> int | None:
        return panel_width(spec, self.target, constant, dtype)

    def halves(self, spec: Contraction, constant: bool) -> Contraction | None:
        return in_halves(spec, self.target, constant)

    def winograd_tiling(self, spec: Contraction, rounded: bool) -> tuple[tuple[int, ...], int] | None:
        return choose_tiling(spec, self.target, rounded and self.halves(spec, True) is not None)
