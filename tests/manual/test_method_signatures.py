"""Signatures of the methods of Model and Sequential, verbatim as the documents have them, called so."""

from __future__ import annotations

import pytest
from samples import Model, Sequential, classified

FIT = (
    "fit(self, x, y, batch_size=32, nb_epoch=10, verbose=1, callbacks=[], validation_split=0.0, "
    "validation_data=None, shuffle=True, class_weight=None, sample_weight=None)"
)
FIT_GENERATOR = (
    "fit_generator(self, generator, samples_per_epoch, nb_epoch, verbose=1, callbacks=[], "
    "validation_data=None, nb_val_samples=None, class_weight=None, max_q_size=10)"
)
BY_GENERATOR = "evaluate_generator(self, generator, val_samples, max_q_size=10)"
EVALUATE = "evaluate(self, x, y, batch_size=32, verbose=1, sample_weight=None)"
PREDICT = "predict(self, x, batch_size=32, verbose=0)"
CLASSES = "predict_classes(self, x, batch_size=32, verbose=1)"
PROBABILITIES = "predict_proba(self, x, batch_size=32, verbose=1)"
TRAIN = "train_on_batch(self, x, y, class_weight=None, sample_weight=None)"
TEST = "test_on_batch(self, x, y, sample_weight=None)"
COMPILE = "compile(self, optimizer, loss, metrics=[], sample_weight_mode=None)"
# place: the class, the signature, what comes of it: a shape, a number of losses or results
METHODS = {
    "001:2136-2136": (Model, COMPILE.replace("sample", "loss_weights=None, sample"), None),
    "001:2150-2150": (Model, FIT, 10),
    "001:2171-2171": (Model, EVALUATE, 2),
    "001:2189-2189": (Model, PREDICT, (40, 3)),
    "001:2197-2197": (Model, TRAIN, 2),
    "001:2205-2205": (Model, TEST, 2),
    "001:2213-2213": (Model, "predict_on_batch(self, x)", (40, 3)),
    "001:2236-2236": (Sequential, COMPILE, None),
    "001:2258-2258": (Sequential, FIT, 10),
    "001:2278-2278": (Sequential, EVALUATE, 2),
    "001:2295-2295": (Sequential, PREDICT, (40, 3)),
    "001:2303-2303": (Sequential, CLASSES, (40,)),
    "001:2311-2311": (Sequential, PROBABILITIES, (40, 3)),
    "001:2319-2319": (Sequential, TRAIN, 2),
    "001:2327-2327": (Sequential, TEST, 2),
    "001:2335-2335": (Sequential, "predict_on_batch(self, x)", (40, 3)),
    "001:2343-2343": (Sequential, FIT_GENERATOR, 2),
    "001:2384-2384": (Sequential, BY_GENERATOR, 2),
    "002:191-191": (Sequential, "compile(self, optimizer, loss, metrics=None)", None),
    "002:207-207": (
        Sequential,
        "fit(self, x=x, y=y, batch_size=None, epochs=1, verbose=1, validation_split=0.0)",
        1,
    ),
    "003:795-795": (Sequential, COMPILE, None),
    "003:797-797": (Sequential, FIT, 10),
    "003:799-799": (Sequential, EVALUATE, 2),
    "003:802-802": (Sequential, PREDICT, (40, 3)),
    "003:805-805": (Sequential, CLASSES, (40,)),
    "003:808-808": (Sequential, PROBABILITIES, (40, 3)),
    "003:810-810": (Sequential, TRAIN, 2),
    "003:812-812": (Sequential, TEST, 2),
    "003:814-814": (Sequential, "predict_on_batch(self, x)", (40, 3)),
    "003:817-817": (Sequential, FIT_GENERATOR, 2),
    "003:819-819": (Sequential, BY_GENERATOR, 2),
}


@pytest.mark.parametrize("place", METHODS)
@pytest.mark.filterwarnings("ignore")  # of Keras 1's names of arguments
def test_a_method_is_called_as_its_signature_states(place):
    home, call, expected = METHODS[place]
    model, x, y = classified(functional=home is Model)
    model.compile("sgd", "categorical_crossentropy", metrics=["accuracy"])

    def batches():
        while True:
            yield x[:10], y[:10]

    names = {"self": model, "x": x, "y": y, "optimizer": "sgd", "loss": "categorical_crossentropy"}
    names.update(generator=batches(), samples_per_epoch=40, nb_epoch=2, val_samples=40, home=home)
    found = eval(f"home.{call}", names)
    if expected is None:
        assert set(model.fit(x, y, verbose=0).history) == {"loss"}
    elif isinstance(expected, tuple):
        assert found.shape == expected
    else:
        assert len(getattr(found, "epoch", found)) == expected
