"""Programs of JAX as graphs.

Enters: a function that computes by JAX, or a live Keras 3 model on JAX. Leaves: a graph, or a model of ours.
The function is traced once by JAX; its primitives become our ops (`primitives`), and the gradient is that of
our ops. JAX is imported in `programs` alone, when something is traced: nothing else of kcompile needs it.
"""
