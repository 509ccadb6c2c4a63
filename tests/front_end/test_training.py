"""compile, fit, evaluate, predict and the single steps, on the interpreter."""

import warnings

import numpy as np
import pytest
from small_models import CLASSES, ONE_HOT, X, Y, classifier, ready, regressor, rng, two, two_outputs

from kcompile.interpreted import InterpreterEngine
from kcompile.ir import ops
from kcompile.keras import callbacks, graphs, losses
from kcompile.keras.constraints import MaxNorm
from kcompile.keras.inputs import Input
from kcompile.keras.layers import BatchNormalization, Concatenate, Dense, Dropout
from kcompile.keras.models import Model, Sequential, clone_model
from kcompile.keras.optimizers import SGD, Adam
from kcompile.keras.regularizers import l2
from kcompile_runtime.errors import KcompileError

# ---------------------------------------------------------------- numbers


def test_a_step_of_sgd_is_what_numpy_computes():
    model = regressor(optimizer=SGD(lr=0.1))
    w, b = (v.astype(float) for v in model.get_weights())
    for start in (0, 5, 10):
        x, y = X[start : start + 5], Y[start : start + 5, None]
        error = x @ w + b - y
        assert model.train_on_batch(x, y) == pytest.approx((error**2).mean(), rel=1e-5)
        w = w - 0.1 * 2 * x.T @ error / 5
        b = b - 0.1 * 2 * error.mean(0)
        np.testing.assert_allclose(model.get_weights()[0], w, rtol=1e-5)
        np.testing.assert_allclose(model.get_weights()[1], b, rtol=1e-5)


def test_gradients_are_finite_differences():
    """With SGD and rate 1, a step is minus the gradient: of the whole loss, penalties included."""
    model = ready(
        Sequential(
            [
                Dense(5, activation="tanh", input_shape=(4,), kernel_regularizer=l2(0.1)),
                Dense(3, activation="softmax", activity_regularizer=l2(0.01)),
            ]
        ),
        SGD(lr=1.0),
        "categorical_crossentropy",
    )
    start, step = model.get_weights(), 1e-3
    model.train_on_batch(X, ONE_HOT)
    gradients = [a - b for a, b in zip(start, model.get_weights())]
    exact = InterpreterEngine(model, "float64")
    data = [X, ONE_HOT, np.ones(len(X), "f")]
    for k, (w, g) in enumerate(zip(start, gradients)):
        for i in list(np.ndindex(w.shape))[::3]:
            values = []
            for sign in (1, -1):
                moved = [a.copy() for a in start]
                moved[k][i] += sign * step
                model.set_weights(moved)
                values.append(exact.run("test", len(X), data)[0][0])
            assert g[i] == pytest.approx((values[0] - values[1]) / (2 * step), rel=2e-3, abs=1e-5)


def test_weights_divide_by_those_not_zero_in_keras_2_and_by_the_batch_in_keras_3():
    weights = np.array([2, 0, 1, 0, 0], "f")
    for vintage, count in (("keras2", 2), ("keras3", 5)):
        model = regressor(vintage=vintage)
        each = (model.predict(X[:5])[:, 0] - Y[:5]) ** 2
        found = model.test_on_batch(X[:5], Y[:5], sample_weight=weights)
        assert found == pytest.approx((each * weights).sum() / count, rel=1e-5)
    assert regressor().test_on_batch(X[:5], Y[:5], sample_weight=np.zeros(5)) == 0


def test_metrics_ignore_weights_and_weighted_metrics_use_them():
    model = regressor(metrics=["mae"], weighted_metrics=["mae"])
    assert model.metrics_names == ["loss", "mean_absolute_error", "weighted_mean_absolute_error"]
    each, weights = np.abs(model.predict(X)[:, 0] - Y), np.arange(20) % 3
    _, plain, weighted = model.evaluate(X, Y, sample_weight=weights, batch_size=7, verbose=0)
    assert plain == pytest.approx(each.mean(), rel=1e-5)
    assert weighted == pytest.approx((each * weights).sum() / weights.sum(), rel=1e-5)


def test_class_weights_are_sample_weights():
    first, second = classifier(), classifier()
    second.set_weights(first.get_weights())
    mapping = {0: 1.0, 1: 3.0, 2: 0.5}
    weights = np.array([mapping[c] for c in CLASSES])
    a = first.train_on_batch(X, CLASSES, class_weight=mapping)
    assert a == second.train_on_batch(X, CLASSES, sample_weight=weights)
    np.testing.assert_array_equal(first.get_weights()[0], second.get_weights()[0])
    dense = classifier("categorical_crossentropy")
    dense.set_weights(second.get_weights())
    assert dense.train_on_batch(X, ONE_HOT, class_weight=mapping) == pytest.approx(
        second.train_on_batch(X, CLASSES, sample_weight=weights), rel=1e-5
    )


def test_class_weights_do_not_count_in_validation():
    model = classifier(optimizer=SGD(lr=0.0))
    history = model.fit(X, CLASSES, validation_split=0.5, verbose=0, class_weight={0: 9, 1: 9, 2: 9})
    plain = model.evaluate(X[10:], CLASSES[10:], verbose=0)
    assert history.history["val_loss"][0] == pytest.approx(plain, rel=1e-6)


def test_losses_of_outputs_are_weighted_and_reported():
    model = two_outputs(
        loss_weights={"kind": 2.0, "size": 0.5}, metrics={"kind": ["accuracy", "ce"], "size": "mae"}
    )
    assert model.metrics_names == [
        "loss",
        "kind_loss",
        "size_loss",
        "kind_acc",
        "kind_ce",
        "size_mean_absolute_error",
    ]
    y = {"size": Y, "kind": CLASSES}
    values = model.test_on_batch({"b": X[::-1], "a": X}, y)
    assert values == pytest.approx(
        model.evaluate([X, X[::-1]], [CLASSES, Y], verbose=0, batch_size=6), rel=1e-5
    )
    total, kind, size, accuracy, ce, _ = values
    assert total == pytest.approx(2 * kind + 0.5 * size, rel=1e-5)
    assert ce == pytest.approx(kind, rel=1e-6)
    said = model.predict([X, X[::-1]])[0].argmax(1)
    assert accuracy == pytest.approx((said == CLASSES).mean())


def test_an_output_without_a_loss_takes_no_labels():
    model = two_outputs(loss={"size": "mse"})
    assert model.metrics_names == ["loss", "size_loss"]
    before = model.get_layer("kind").get_weights()[0]
    model.fit([X, X], Y, verbose=0)
    np.testing.assert_array_equal(model.get_layer("kind").get_weights()[0], before)
    assert len(model.predict([X, X])) == 2


def test_reductions_by_sum():
    model = regressor(losses.MeanSquaredError(reduction="sum"))
    each = (model.predict(X)[:, 0] - Y) ** 2
    assert model.test_on_batch(X, Y) == pytest.approx(each.sum(), rel=1e-5)


def test_constraints_hold_after_every_step():
    model = ready(
        Sequential([Dense(6, input_shape=(4,), kernel_constraint=MaxNorm(0.3))]), SGD(lr=1.0), "mse"
    )
    model.train_on_batch(X, rng.normal(size=(20, 6)))
    norms = np.linalg.norm(model.get_weights()[0], axis=0)
    assert norms.max() <= 0.3 + 1e-5


def test_moving_statistics_and_steps_are_updated_in_training_only():
    model = ready(Sequential([BatchNormalization(input_shape=(4,)), Dropout(0.5), Dense(1)]), "sgd", "mse")
    before = model.get_weights()[2]
    model.evaluate(X, Y, verbose=0)
    np.testing.assert_array_equal(model.get_weights()[2], before)
    first = model.train_on_batch(X, Y)
    assert np.abs(model.get_weights()[2] - before).max() > 0
    assert model.random_state.step.value == 1
    assert model.optimizer.iterations.value == 1
    assert first != model.train_on_batch(X, Y)


# ---------------------------------------------------------------- fit


def test_fit_learns():
    model = classifier(optimizer=Adam(0.02), metrics=["accuracy"])
    history = model.fit(X, CLASSES, epochs=60, batch_size=5, verbose=0)
    assert history.history["acc"][-1] > 0.9 and history.history["accuracy"][-1] > 0.9
    assert history.history["loss"][-1] < history.history["loss"][0] / 2


def test_same_seed_same_run():
    def once():
        np.random.seed(9)
        model = classifier()
        return model.fit(X, CLASSES, epochs=3, batch_size=6, verbose=0).history["loss"]

    assert once() == once()


def test_validation_split_is_the_last_part_before_shuffling():
    model = regressor(optimizer=SGD(lr=0.0))
    history = model.fit(X, Y, validation_split=0.25, verbose=0)
    np.testing.assert_allclose(
        history.history["val_loss"][0], model.evaluate(X[15:], Y[15:], verbose=0), rtol=1e-6
    )
    np.testing.assert_allclose(
        history.history["loss"][0], model.evaluate(X[:15], Y[:15], verbose=0), rtol=1e-6
    )
    again = model.fit(X[:15], Y[:15], validation_data=(X[15:], Y[15:]), verbose=0)
    assert again.history["val_loss"] == history.history["val_loss"]
    weighted = model.fit(X, Y, validation_data=(X, Y, np.arange(20)), verbose=0)
    assert weighted.history["val_loss"][0] == pytest.approx(
        model.evaluate(X, Y, sample_weight=np.arange(20), verbose=0), rel=1e-6
    )


def test_partial_batches_count_by_their_size():
    model = regressor(metrics=["mae"])
    np.testing.assert_allclose(
        model.evaluate(X, Y, batch_size=7, verbose=0),
        model.evaluate(X, Y, batch_size=20, verbose=0),
        rtol=1e-5,
    )
    np.testing.assert_allclose(model.predict(X, batch_size=3), model.predict_on_batch(X), rtol=1e-5)


def test_steps():
    model = regressor()
    model.fit(X, Y, batch_size=4, epochs=2, steps_per_epoch=3, verbose=0)
    assert model.optimizer.iterations.value == 6
    assert model.predict(X, batch_size=4, steps=2).shape == (8, 1)
    with pytest.raises(ValueError, match=r"steps_per_epoch: expected at most 5"):
        model.fit(X, Y, batch_size=4, steps_per_epoch=6)


def test_keras_1_spelling_of_epochs():
    with pytest.warns(UserWarning, match="nb_epoch") as caught:
        history = regressor().fit(X, Y, nb_epoch=3, verbose=0)
    assert len(history.epoch) == 3 and len(caught) == 1
    with pytest.raises(TypeError, match="'epoch'"):
        regressor().fit(X, Y, epoch=3)


def test_nan_in_the_data_propagates_and_is_told():
    model = regressor()
    x = X.copy()
    x[11, 2] = np.nan
    with pytest.warns(UserWarning, match="loss is nan in epoch 1, batch 3"):
        history = model.fit(x, Y, batch_size=4, shuffle=False, epochs=2, verbose=0)
    assert np.isnan(history.history["loss"]).all() and np.isnan(model.get_weights()[0]).all()


def test_data_of_other_dtypes_and_layouts():
    model = regressor()
    expected = model.test_on_batch(X, Y[:, None])
    for x, y in (
        (X.astype(float), Y.astype(float)),
        (X.tolist(), Y.tolist()),
        ([X], [Y]),
        (np.asfortranarray(X), Y[:, None]),
        (X[::-1][::-1], Y),
        ({"a": X}, {"b": Y}),
    ):
        if isinstance(x, dict):
            x, y = {model.input_names[0]: X}, {model.output_names[0]: Y}
        assert model.test_on_batch(x, y) == pytest.approx(expected, rel=1e-6)
        assert model.evaluate(x, y, verbose=0) == pytest.approx(expected, rel=1e-6)
    images = (X * 10).astype(np.uint8)
    assert model.predict(images).dtype == np.float32


def test_a_model_without_input_shape_is_built_by_the_data():
    model = Sequential([Dense(8, activation="relu"), Dense(3, activation="softmax")])
    ready(model, "sgd", "sparse_categorical_crossentropy", metrics=["acc"])
    model.fit(X, CLASSES, verbose=0)
    assert model.input_shape == (None, 4)


def test_what_is_trained_is_settled_at_compile():
    """As in Keras 2, and as adversarial networks need it."""
    model = regressor()
    model.layers[0].trainable = False
    before = model.get_weights()[0]
    model.train_on_batch(X, Y)
    assert np.abs(model.get_weights()[0] - before).max() > 0
    model.compile("sgd", "mse")
    before = model.get_weights()[0]
    assert model.train_on_batch(X, Y) == pytest.approx(model.test_on_batch(X, Y))
    np.testing.assert_array_equal(model.get_weights()[0], before)


def test_layers_added_after_compile_count():
    model = regressor()
    model.train_on_batch(X, Y)
    model.add(Dense(3, activation="softmax"))
    model.compile("sgd", "sparse_categorical_crossentropy")
    assert model.train_on_batch(X, CLASSES) > 0


# ---------------------------------------------------------------- losses and metrics of one's own


def test_functions_of_ones_own():
    def mean_pred(y_true, y_pred):
        return ops.reduce_mean(y_pred)

    def both(y_true, y_pred):
        return {"low": ops.reduce_min(y_pred), "rows": ops.reduce_sum(y_pred, -1)}

    model = regressor(lambda t, p: ops.abs(t - p) * 3.0, metrics=[mean_pred, both, mean_pred])
    assert model.metrics_names == ["loss", "mean_pred", "low", "rows", "mean_pred_1"]
    loss, mean, low, rows, _ = model.evaluate(X, Y, verbose=0)
    said = model.predict(X)
    assert loss == pytest.approx(3 * np.abs(said[:, 0] - Y).mean(), rel=1e-5)
    assert (mean, low, rows) == pytest.approx((said.mean(), said.min(), said.mean()), rel=1e-5)


def test_a_loss_of_ones_own_takes_labels_of_any_shape():
    model = regressor(lambda t, p: ops.reduce_mean(ops.square(t - p), -1))
    wide = rng.normal(size=(20, 6))
    expected = ((model.predict(X) - wide) ** 2).mean()
    assert model.test_on_batch(X, wide) == pytest.approx(expected, rel=1e-5)
    assert model.fit(X, Y, verbose=0).history["loss"][0] > 0


# ---------------------------------------------------------------- graphs


def test_graphs_have_the_promised_boundary():
    model = two_outputs(metrics=["accuracy"])
    train = graphs.trace(model, "train").graph
    assert list(train.inputs) == ["a", "b", "y:kind", "y:size", "w:kind", "w:size"]
    assert list(graphs.trace(model, "test").graph.inputs) == list(train.inputs)
    assert graphs.trace(model, "test").graph.updates == {}
    assert list(graphs.trace(model, "predict").graph.outputs) == ["kind", "size"]
    result = train.outputs["results"]
    assert train.type(result).shape == (2 * len(model.metrics_names) - 1,)
    assert {v.path for v in model.trainable_weights} < set(train.updates)
    assert "training/SGD/iteration" in train.updates
    assert "training/SGD/learning_rate" not in train.updates
    for graph in (train, graphs.trace(model, "test").graph, graphs.trace(model, "predict").graph):
        graph.verify()


def test_every_optimizer_traces_a_valid_graph():
    from kcompile.keras import optimizers

    for name in optimizers.CLASSES:
        graphs.trace(classifier(optimizer=name), "train").graph.verify()


def test_no_warnings_in_ordinary_use():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = classifier(metrics=["accuracy"])
        model.fit(X, CLASSES, epochs=2, validation_split=0.2, verbose=0)
        model.evaluate(X, CLASSES, verbose=0)
        model.predict(X)


def test_classes_and_probabilities_of_a_sequential():
    x = np.random.default_rng(0).normal(size=(9, 4)).astype("f")
    many = Sequential([Dense(3, activation="softmax", input_shape=(4,))])
    np.testing.assert_array_equal(many.predict_classes(x, 4), many.predict(x).argmax(-1))
    np.testing.assert_array_equal(many.predict_proba(x), many.predict(x))
    single = Sequential([Dense(1, activation="sigmoid", input_shape=(4,))])
    classes = single.predict_classes(x)
    assert classes.dtype == "int32"
    np.testing.assert_array_equal(classes, single.predict(x) > 0.5)
    with pytest.warns(UserWarning, match="no probabilities"):
        Sequential([Dense(3, input_shape=(4,))]).predict_proba(x * 10)


@pytest.mark.parametrize("loss", [{"a": "mse", "b": None}, {"a": "mse"}, ["mse", None]])
@pytest.mark.parametrize(
    "give",
    [
        lambda a, b: [a, b],
        lambda a, b: {"a": a, "b": b},
        lambda a, b: a,
        lambda a, b: {"a": a},
        lambda a, b: [a, None],
        lambda a, b: [a],
    ],
)
def test_labels_of_an_output_without_a_loss_are_left_out(loss, give):
    model = two(loss=loss)
    labels = X[:, :1].astype("float32")
    expected = ((model.predict(X)[0] - labels) ** 2).mean()
    found = model.evaluate(X, give(labels, CLASSES), verbose=0)
    np.testing.assert_allclose(found, [expected, expected], rtol=1e-5)


def test_metrics_of_an_output_without_a_loss():
    given = {"loss": ["mse", None], "metrics": [["mae"], ["accuracy"]]}
    assert two("keras2", **given).metrics_names == ["loss", "a_loss", "a_mean_absolute_error"]
    for vintage, names in (
        ("tf_keras", ["loss", "a_loss", "a_mae", "b_accuracy"]),
        ("keras3", ["loss", "a_mae", "b_accuracy"]),
    ):
        model = two(vintage, **given)
        assert model.trainer.names() == names
        found = model.evaluate(X, [X[:, :1], CLASSES], verbose=0)
        hits = (model.predict(X)[1].argmax(1) == CLASSES).mean()
        assert found[-1] == pytest.approx(hits)
        with pytest.raises(ValueError, match="names a, b"):
            model.evaluate(X, {"a": X[:, :1]}, verbose=0)


def test_values_by_name_and_over_several_batches():
    for entry in ("train_on_batch", "test_on_batch"):
        model = regressor(metrics=["mae"], optimizer=SGD(lr=0.0))
        step = getattr(model, entry)
        names = ["loss", "mean_absolute_error"]
        first, second = step(X[:5], Y[:5]), step(X[5:], Y[5:], return_dict=True)
        assert list(second) == names
        whole = model.evaluate(X, Y, verbose=0, return_dict=True)
        assert list(whole) == names
        assert step(X[:5], Y[:5], reset_metrics=False) == pytest.approx(first, rel=1e-5)
        both = step(X[5:], Y[5:], reset_metrics=False, return_dict=True)
        assert both == pytest.approx(whole, rel=1e-5)
        model.reset_metrics()
        assert step(X[:5], Y[:5]) == pytest.approx(first, rel=1e-5)


def test_validation_after_some_epochs_in_batches_of_their_own_size():
    sizes = []

    class Seen(callbacks.Callback):
        def on_test_batch_end(self, batch, logs=None):
            sizes.append(logs["size"])

    model = regressor()
    for freq, epochs in ((2, [1, 3]), ([1, 4], [0, 3]), (5, [])):
        history = model.fit(
            X,
            Y,
            epochs=4,
            verbose=0,
            validation_data=(X, Y),
            validation_freq=freq,
            validation_batch_size=15,
            callbacks=[Seen()],
        ).history
        assert len(history["loss"]) == 4 and len(history.get("val_loss", [])) == len(epochs)
    assert sizes == [15, 5] * 4


def test_lists_and_dicts_of_one_input_build_a_sequential():
    for give in (lambda a: a, lambda a: [a], lambda a: (a,), lambda a: a.tolist()):
        model = ready(Sequential([Dense(2)]), "sgd", "mse")
        model.fit(give(X), give(X[:, :2]), verbose=0)
        assert model.get_weights()[0].shape == (4, 2)


def test_a_model_without_weights_is_fitted():
    x = Input((3,))
    model = ready(Model(x, Concatenate()([x, x])), "sgd", "mse", metrics=["mae"])
    history = model.fit(np.ones((4, 3)), np.zeros((4, 6)), epochs=2, verbose=0).history
    assert history["loss"] == [1.0, 1.0] and int(model.optimizer.iterations.value) == 2


def test_clones_on_tensors_of_their_own():
    model, y = regressor(), Input((4,), name="other")
    clone = clone_model(model, input_tensors=y)
    assert clone.inputs == [y] and clone.get_weights()[0].shape == (4, 1)
    a, b = Input((4,), name="u"), Input((4,), name="v")
    clone = clone_model(two_outputs(), [a, b])
    assert clone.inputs == [a, b] and [v.shape for v in clone.get_weights()] == [
        v.shape for v in two_outputs().get_weights()
    ]
    for wrong in (3, [a], [a, X], [a, clone.outputs[0]]):
        with pytest.raises(KcompileError, match="tensors that Input gave"):
            clone_model(two_outputs(), wrong)
