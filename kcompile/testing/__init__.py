"""Property-based tests of models: what to draw, what to assert, how to find the smallest model that fails.

    from hypothesis import given
    from kcompile.testing import assert_agrees, assert_gradients, models

    @given(models(compiled=True))
    def test_any_model(sample):
        assert_agrees(sample.model, sample.inputs(3))

`models()` and `graphs()` are hypothesis strategies of random models and graphs, `inputs_for(model)` of data
for a model. `assert_agrees` compares compiled predictions with the interpreter, with a model of a live
Keras or with a function, `assert_gradients` compares compiled gradients with finite differences, and
`find_smallest` takes layers away from a model for as long as it fails. Needs the extra `testing`.
"""

try:
    import hypothesis  # noqa: F401
except ImportError as error:
    raise ImportError("kcompile.testing draws by hypothesis: pip install 'kcompile[testing]'") from error

from kcompile.testing.agreement import assert_agrees, assert_gradients
from kcompile.testing.data import inputs_for, make_inputs
from kcompile.testing.graphs import graphs
from kcompile.testing.models import Sample, models, sample
from kcompile.testing.smallest import find_smallest

__all__ = [
    "Sample",
    "assert_agrees",
    "assert_gradients",
    "find_smallest",
    "graphs",
    "inputs_for",
    "make_inputs",
    "models",
    "sample",
]
