"""The parts of `passes.fuse`: from a graph to a plan of groups, in named stages, and from the plan to groups.

order      copies for results that need a buffer of their own; an order in which more nodes fuse
facts      what the graph says of its nodes, once: who reads what, what is always inlined
plan       `FusionPlan`, which every stage takes and gives, and its text
epilogues  stage 1: contractions with the elementwise nodes after them
producers  stage 2: every other node, into a group that reads it, beside a sibling, or by itself
rules      whether a node may join a group: predicates, each with its reason
drafts     the groups of stage 2 while they grow
boundary   stage 3: what a group reads and stores, and the order of groups
emit       the graph of groups that a plan describes
"""
