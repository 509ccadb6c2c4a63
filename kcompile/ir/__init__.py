"""The IR: types, the graph, ops, the interpreter, the gradient, and the passes.

Enters: what the front end traces, calls of `ops` on symbolic tensors. Leaves: a graph after the passes, whose
nodes are groups of ops, each of which the code generator makes a kernel of. Nothing here knows Keras or LLVM.

What a graph is made of:
    types        dtypes and shapes, where the batch `n` is the one symbolic size
    graph        nodes and the graph, its verification and text
    op           the record of an operation, with its traits
    ops          all operations, one file for each family
    contraction  matrix products and convolutions as data: index maps
    tensor       values under construction, with Python's operators
    described    their shapes and dtypes, as scripts of TensorFlow read them
What is done with a graph:
    interpreter  computes it in numpy; everything else is checked against this
    gradient     appends the derivative of a scalar
    rewrite      makes a graph of another by a rule for each node
    precision    rounds the operands of contractions
    passes       the optimisations, and their order (`passes.pipeline`)
    digest       names a graph by its content
    networks     what networkx' algorithms say of it
    pictures     boxes and edges as SVG
What ops and passes share:
    elements     the protocol that rules for one element are written with
    space        the iteration domain of a group
    indices      row numbers that come from data
    random       random numbers as a function of their position
    cost         the numbers that passes choose by
    specs        types as the runtime writes them
"""
