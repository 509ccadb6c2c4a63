"""Machine code from LLVM IR text: in this process, in the disk cache, and in libraries without Python.

Enters: LLVM IR text of `llvm`, and what the runtime must know of an entry. Leaves: addresses of native
functions, or the file of a library with its header.

    jit          compiles and loads LLVM IR in this process
    bundle       code with the sizes and names that the runtime needs: what the cache keeps
    cache        object code on disk, found by content
    artifact     an exported model: library and header
    exported     the records that an artifact is written from
    c_interface  its C functions, around the entry "predict" (fixed text: the .ll files)
    c_step       those of a training step
    data         its read-only data: where weights, constants and samples lie
    levels       which of several levels of a processor's code a call takes
    link, wasm   object files to a shared object or a WebAssembly module
    bare         object files for programs without an operating system
"""
