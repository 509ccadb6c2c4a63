"""Models whose inputs or outputs are dicts of tensors."""

import numpy as np
import pytest

import kcompile
from kcompile.interpreted import InterpreterEngine
from kcompile.keras.layers import Concatenate, Dense, Input, Subtract
from kcompile.keras.models import Model, clone_model
from kcompile_runtime.errors import KcompileError

rng = np.random.default_rng(5)
U, V = rng.normal(size=(2, 9, 3)).astype("float32")


def made(vintage="keras3"):
    u, v = Input((3,), name="u"), Input((3,), name="v")
    both = Concatenate(name="both", vintage=vintage)([u, v])
    return Model(
        {"v": v, "u": u},
        {"z": Dense(1, name="a", vintage=vintage)(both), "c": Subtract(name="b", vintage=vintage)([u, v])},
        vintage=vintage,
        name="dicts",
    )


def check(model):
    w, b = model.get_weights()
    z = np.concatenate([U, V], 1) @ w + b
    for data in ({"v": V, "u": U}, {"u": U, "w": V, "v": V}, [U, V]):
        for found in (model.predict(data), model.predict_on_batch(data)):
            assert list(found) == ["c", "z"]
            np.testing.assert_allclose(found["z"], z, rtol=1e-4, atol=1e-6)
            np.testing.assert_allclose(found["c"], U - V)


def test_prediction_clones_and_configurations():
    model = made()
    check(model)
    assert (
        model.input_names == ["u", "v"]
        and model.output_names == ["b", "a"]
        and model.output_labels == ["c", "z"]
    )
    assert list(model.input) == ["u", "v"] and list(model.output) == ["z", "c"]
    check(clone_model(model))
    assert {k: v.shape for k, v in model.predict({"u": U[:0], "v": V[:0]}).items()} == {
        "c": (0, 3),
        "z": (0, 1),
    }


@pytest.mark.parametrize("suffix", [".keras", ".h5", ".json"])
def test_files(tmp_path, suffix):
    model, path = made(), tmp_path / f"m{suffix}"
    if suffix == ".json":
        path.write_text(model.to_json())
        again = kcompile.load(path)
        again.set_weights(model.get_weights())
    else:
        model.save(path)
        again = kcompile.load(path)
    check(again)
    np.testing.assert_array_equal(again.get_weights()[0], model.get_weights()[0])


def test_training_by_key():
    model = made()
    model.use_engine(InterpreterEngine(model))
    model.compile("sgd", {"z": "mse", "c": "mae"}, metrics={"z": ["mae"]})
    labels = {"z": U[:, :1], "c": V}
    found = model.predict({"u": U, "v": V})
    c, z = np.abs(found["c"] - V).mean(), ((found["z"] - U[:, :1]) ** 2).mean()
    values = model.evaluate({"u": U, "v": V}, labels, verbose=0, return_dict=True)
    assert values == pytest.approx(
        {"loss": c + z, "c_loss": c, "z_loss": z, "z_mae": np.abs(found["z"] - U[:, :1]).mean()}, rel=1e-4
    )
    history = model.fit({"u": U, "v": V}, labels, verbose=0, epochs=3).history
    assert history["z_loss"][-1] < history["z_loss"][0]


def test_a_model_of_dicts_is_called_with_dicts():
    inner = made()
    p, q = Input((3,)), Input((3,))
    found = inner({"v": q, "u": p})
    outer = Model([p, q], [found["z"], found["c"]])
    z, c = outer.predict([U, V])
    expected = inner.predict({"u": U, "v": V})
    np.testing.assert_allclose(z, expected["z"], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(c, expected["c"])


def test_what_is_missing_is_told():
    model = made()
    for data in ({"u": U}, {}, [U], U, {"u": U, "v": V[:5]}):
        with pytest.raises(KcompileError):
            model.predict(data)
    with pytest.raises(KcompileError):
        Model({}, {"a": model.outputs[0]})
    with pytest.raises(KcompileError):
        Model({1: model.inputs[0]}, model.outputs[0])


@pytest.mark.keras
@pytest.mark.parametrize("library", ["keras", "tf_keras"])
def test_live_models_and_files_of_keras(library, tmp_path):
    keras = pytest.importorskip(library)
    u, v = keras.layers.Input((3,), name="u"), keras.layers.Input((3,), name="v")
    both = keras.layers.Concatenate()([u, v])
    live = keras.Model(
        {"v": v, "u": u}, {"z": keras.layers.Dense(1)(both), "c": keras.layers.Subtract()([u, v])}
    )
    live.compile("sgd", {"z": "mse", "c": "mae"})
    expected = live.predict({"u": U, "v": V}, verbose=0)
    path = tmp_path / "m.keras"
    live.save(path)
    ours = made()
    ours.save(tmp_path / "ours.keras")
    for model in (kcompile.compile(live), kcompile.load(path)):
        found = model.predict({"u": U, "v": V, "w": U})
        assert set(found) == {"z", "c"}
        for key in found:
            np.testing.assert_allclose(found[key], expected[key], rtol=1e-4, atol=1e-6)
        value = model.evaluate({"u": U, "v": V}, {"z": U[:, :1], "c": V}, verbose=0)[0]
        theirs = np.ravel(live.evaluate({"u": U, "v": V}, {"z": U[:, :1], "c": V}, verbose=0))[0]
        assert value == pytest.approx(float(theirs), rel=1e-4)
    if library == "keras":  # and they read ours
        theirs = keras.models.load_model(tmp_path / "ours.keras").predict({"u": U, "v": V}, verbose=0)
        np.testing.assert_allclose(theirs["z"], ours.predict({"u": U, "v": V})["z"], rtol=1e-4, atol=1e-6)
