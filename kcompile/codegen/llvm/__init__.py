"""LLVM IR text, from loops and launches.

Enters: kernels (`loops.Function`) and the launches of an entry. Leaves: the text of an LLVM module.

    module        a kernel's statements, with `values` (names, scopes, index arithmetic), `arithmetic`
                  and `access` (loads and stores)
    entry_points  the native function of an entry: its launches in order, loops over time
    entry_blocks  the same for some samples after others, or each thread's own samples
    memory        what memory a call takes
    pool          the thread pool (pool.ll; without threads: pool_serial.ll)
    batches       many batches in one native call (batches.ll)
    lacking       what some processors have no instructions for (lacking.ll)
    template      .ll files whose $WORDS are filled in
"""
