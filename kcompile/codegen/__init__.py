"""From optimised graphs to programs: groups become loops, loops become LLVM IR, LLVM IR becomes code.

Enters: a graph after `ir.passes`, whose nodes are groups. Leaves: a `program.Program` (`memory_plan`), its
text (`llvm`, `gpu.emission`), and its code (`binary`). docs/architecture.md has the plan of the rooms.
"""
