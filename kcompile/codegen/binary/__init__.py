"""What is made of LLVM's language: machine code, the cache, and libraries that run without Python."""
