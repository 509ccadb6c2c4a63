"""LLVM's language: kernels and entry points from loops, the thread pool, and the loop over batches."""
