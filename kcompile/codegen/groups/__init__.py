"""A fused group taken apart, in terms that every back end understands.

Enters: the region of a group, the buffers of its operands, and a builder. Leaves: expressions.

    elements  an element of any value of the group at an index
    epilogue  takes a group around a contraction apart
    windows   arrays that lie in wider ones
    operands  the operands of a contraction and the epilogue on its sums, as functions
"""
