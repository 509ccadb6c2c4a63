"""What passes choose by, whatever the target: every number with its unit. The code generator's machine model
is `codegen.cost`."""

from __future__ import annotations

# ---------------------------------------------------------------- groups (`passes.fuse`)

NEAR_ROW = 8192  # elements of a row that are worked on while they are in L1
REMATERIALISED_CHAIN = 3  # cheap ops in a chain that every reader computes for itself
INLINED_CHAIN = 12  # comparisons, scalars, ... in a chain that cost nothing
GROUP_DEPTH = 48  # nodes of a group that read each other; the training step of a softmax has half of that
GROUP_NODES = 400  # nodes of a group: code is made of it by a walk of bounded depth

# ---------------------------------------------------------------- other passes

WAITING = 64  # elements of a sample at most that may wait in memory (`fusion.order`)
FOLDED = 65536  # elements; a larger result is cheaper to compute than to carry (`fold_constants`)
SPLIT = 4096  # elements (of a sample, with the batch) from which on a sum in two steps pays
SPLIT_PART = (64, 8192)  # elements that one number of the first step stands for, at least and at most
FACTOR_CHAIN = 10  # operations in a row that a sum is taken through; batch normalisation's gradient has half
TYPICAL_BATCH = 32  # samples, where a choice must be made before the batch is known; the default of Keras
