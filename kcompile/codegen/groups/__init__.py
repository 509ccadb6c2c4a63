"""A fused group taken apart, in terms that every back end understands.

Enters: the region of a group, the buffers of its operands, and a builder. Leaves: expressions.

    elements  an element of any value of the group at an index
    epilogue  what is done to the sums of a contraction before they are stored
    operands  what a contraction reads, and what becomes of its sums
"""
