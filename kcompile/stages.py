"""Names that users choose by: of the forms of a model that `show` prints, of its entries, of the precisions
in which contractions multiply. Importing them is quick."""

STAGES = ("graph", "passes", "plan", "dot", "loops", "llvm", "asm", "ptx")
ENTRIES = ("predict", "test", "train")
PRECISIONS = ("float32", "bfloat16")
