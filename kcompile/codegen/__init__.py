"""From an optimised graph to machine code: groups become loops, loops become LLVM IR, LLVM IR becomes code.

Enters: a graph after `ir.passes`, whose nodes are groups. Leaves: a `program.Program` (kernels, and
launches with the place of every buffer), its LLVM IR or PTX text, and object code, in memory or as a
shared library.

From the ground up; a module imports only what stands above it here:
    architectures, targets  instruction sets and processors, as data
    cost          the machine model: every number that a choice is made by
    loops         the loop language, its builder and its evaluation in numpy
    program       kernels, launches, sizes; `show` prints them
    groups        a fused group as elements, epilogue and operands, for either back end
    contraction   matrix products and convolutions on processors
    cpu           the back end for processors
    llvm          LLVM IR text of kernels and entry points; the thread pool
    binary        machine code, the disk cache, exported libraries
    gpu           the back end for graphics processors, with its own emission
    pass_target   what passes ask of a target
    lower         asks the target's back end for the kernel of each group
    by_samples    says where samples depend on themselves alone, and what blocks of them pay
    joins         which values are written into the array that joins them, in place of a copy
    memory_plan   places every value in memory and orders the launches
    recomputation computes values of a training step again, where memory is limited
    image         `fingerprint`, where scripts that compare keys of compiled code look for it
"""
