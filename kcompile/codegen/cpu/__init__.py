"""The back end for processors.

Enters: a `group` node and a target. Leaves: a `program.Kernel`, loops whose one parallel loop threads share.

    backend     chooses: a contraction (`codegen.contraction`), a scatter, or loops over elements
    chains      several groups for some rows at a time: attention
    nests       loops over an iteration domain, with its reductions
    row_passes  the passes over a row that the reductions of a group need
    scatter     sparse rows: sums of rows at given positions
"""
