"""The back end for graphics processors.

Enters: a `group` node and a target. Leaves: a `program.Kernel` whose loops are a grid of blocks of
threads; of a whole program, PTX text and a launch table of plain data, which `kcompile_runtime.cuda`
runs.

    backend      what `codegen.lower` asks
    schedules    which element a thread computes; reductions by `teams` of threads
    contraction  tiles in shared memory and registers
    persistent   all steps of a scan in one kernel
    device       a kernel with its grid
    emission     LLVM IR for nvptx64, and PTX
    program      the launch table
    package      an exported model: PTX, table, weights and header in a folder
    evaluate     blocks, threads and barriers on numpy, with races reported
"""
