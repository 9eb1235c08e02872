"""The LLVM backend: kernels, their machine code, and the programs made of them."""
