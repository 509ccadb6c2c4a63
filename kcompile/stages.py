"""The names of the forms of a model that `show` prints, and of its entries. Importing them is quick."""

STAGES = ("graph", "passes", "plan", "dot", "loops", "llvm", "asm", "ptx")
ENTRIES = ("predict", "test", "train")
