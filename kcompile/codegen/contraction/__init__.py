"""Contractions (matrix products, convolutions, their gradients) on processors.

Enters: a contraction with its index maps, its operands and its epilogue. Leaves: the statements of its
kernel.

    plan         how A and B are read, in place or packed, and all sizes of blocks
    blocking     the sizes: register tile, columns, rows, depth
    packing      copies operands in the order in which they are read
    guards       which taps lie inside an operand that is padded and read in place
    words        operands in words of two numbers of bfloat16
    microkernel  the register tile, and what becomes of its sums
    nests        the loops around the tile
    work         iterations of a plan, and their cycles
    polyphase    strided gradients, without the zeros
    winograd     convolutions with fewer multiplications
"""
