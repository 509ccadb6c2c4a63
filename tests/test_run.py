"""`kcompile run`: scripts in the style of the Keras 2 manual, unchanged, and what python promises them."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest

from kcompile.run import as_keras, run_script


def run(tmp_path, source, *arguments, **environment):
    """(status, stdout, stderr) of a script under `python -m kcompile run`."""
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(source))
    result = subprocess.run(
        [sys.executable, "-m", "kcompile", "run", str(script), *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )
    return result.returncode, result.stdout, result.stderr


def value(out, name):
    """The number that a script printed as `name 1.23`."""
    return float(next(line.split()[-1] for line in out.splitlines() if line.startswith(f"{name} ")))


MLP = """
    import keras
    import numpy as np
    from keras.models import Sequential
    from keras.layers import Dense, Dropout, Activation
    from keras.optimizers import SGD

    np.random.seed(0)
    x_train = np.random.random((500, 20))
    y_train = keras.utils.to_categorical((x_train[:, :1] * 5).astype(int), num_classes=5)

    model = Sequential()
    # Dense(64) is a fully-connected layer with 64 hidden units.
    model.add(Dense(64, activation='relu', input_dim=20))
    model.add(Dropout(0.1))
    model.add(Dense(64))
    model.add(Activation('relu'))
    model.add(Dense(5, activation='softmax'))

    sgd = SGD(lr=0.05, decay=1e-6, momentum=0.9, nesterov=True)
    model.compile(loss='categorical_crossentropy', optimizer=sgd, metrics=['accuracy'])
    model.fit(x_train, y_train, epochs=40, batch_size=32, verbose=0)
    score = model.evaluate(x_train, y_train, batch_size=128, verbose=0)
    print('accuracy', score[1])
"""

CNN = """
    import numpy as np
    from tensorflow import keras
    from tensorflow.keras import layers
    from tensorflow.keras.models import Sequential
    import tensorflow as tf

    np.random.seed(0)
    assert tf.keras.layers.Dense is layers.Dense and keras.Sequential is Sequential
    kinds = np.random.randint(0, 2, 200)
    images = np.random.rand(200, 8, 8, 1) * 0.5
    images[kinds == 1, :, 3:5] += 0.5

    model = Sequential([
        layers.Conv2D(8, (3, 3), activation='relu', input_shape=(8, 8, 1)),
        layers.MaxPooling2D(pool_size=(2, 2)),
        layers.Flatten(),
        layers.Dense(1, activation='sigmoid')])
    model.summary()
    model.compile(optimizer='adam', loss='binary_crossentropy', metrics=['acc'])
    history = model.fit(images, kinds, epochs=30, batch_size=20, validation_split=0.2, verbose=2)
    print('accuracy', history.history['val_acc'][-1])
"""

CUSTOM = """
    from keras import backend as K
    from keras.engine.topology import Layer
    from keras.models import Sequential
    from keras.layers.core import Dense, Lambda
    from keras.layers.advanced_activations import LeakyReLU
    import numpy as np

    np.random.seed(0)

    class MyLayer(Layer):
        def __init__(self, output_dim, **kwargs):
            self.output_dim = output_dim
            super(MyLayer, self).__init__(**kwargs)

        def build(self, input_shape):
            self.kernel = self.add_weight(name='kernel', shape=(input_shape[1], self.output_dim),
                                          initializer='uniform', trainable=True)
            super(MyLayer, self).build(input_shape)

        def call(self, x):
            return K.dot(x, self.kernel)

        def compute_output_shape(self, input_shape):
            return (input_shape[0], self.output_dim)

    def antirectifier(x):
        x -= K.mean(x, axis=1, keepdims=True)
        x = K.l2_normalize(x, axis=1)
        return K.concatenate([K.relu(x), K.relu(-x)], axis=1)

    def my_loss(y_true, y_pred):
        return K.mean(K.square(y_true - y_pred), axis=-1)

    model = Sequential()
    model.add(MyLayer(32, input_shape=(10,)))
    model.add(Lambda(antirectifier))
    model.add(Dense(16, kernel_regularizer=lambda w: 1e-4 * K.sum(K.square(w))))
    model.add(LeakyReLU(0.1))
    model.add(Dense(1, activation=K.tanh))
    model.compile('adam', loss=my_loss, metrics=[lambda t, p: K.max(K.abs(t - p))])
    x = np.random.randn(400, 10)
    y = np.tanh(x[:, :1])
    before = model.evaluate(x, y, verbose=0)[0]
    model.fit(x, y, epochs=40, batch_size=20, verbose=0)
    print('share', model.evaluate(x, y, verbose=0)[0] / before)
    get_first = K.function([model.layers[0].input, K.learning_phase()], [model.layers[1].output])
    print('width', get_first([x, 0])[0].shape[1])
"""

TWO_INPUTS = """
    import sys
    import argparse
    from keras.layers import Input, Dense, concatenate
    from keras.models import Model
    import numpy as np

    parser = argparse.ArgumentParser()
    parser.add_argument('--epochs', type=int, default=1)
    epochs = parser.parse_args().epochs

    np.random.seed(0)
    main_input = Input(shape=(10,), dtype='float32', name='main_input')
    x = Dense(32, activation='relu')(main_input)
    auxiliary_output = Dense(1, activation='sigmoid', name='aux_output')(x)
    auxiliary_input = Input(shape=(5,), name='aux_input')
    x = concatenate([x, auxiliary_input])
    x = Dense(64, activation='relu')(x)
    main_output = Dense(1, activation='sigmoid', name='main_output')(x)

    model = Model(inputs=[main_input, auxiliary_input], outputs=[main_output, auxiliary_output])
    model.compile(optimizer='rmsprop',
                  loss={'main_output': 'binary_crossentropy', 'aux_output': 'binary_crossentropy'},
                  loss_weights={'main_output': 1., 'aux_output': 0.2}, metrics=['accuracy'])
    data, more = np.random.randn(300, 10), np.random.randn(300, 5)
    labels = (data[:, :1] + more[:, :1] > 0).astype('float32')
    model.fit({'main_input': data, 'aux_input': more},
              {'main_output': labels, 'aux_output': labels}, epochs=epochs, batch_size=32, verbose=0)
    names = model.metrics_names
    values = model.evaluate([data, more], [labels, labels], verbose=0)
    print('accuracy', dict(zip(names, values))['main_output_acc'])
    sys.exit(epochs)
"""


def test_mlp(tmp_path):
    status, out, err = run(tmp_path, MLP)
    assert (status, err) == (0, "") and value(out, "accuracy") > 0.9


def test_cnn_by_the_names_of_tensorflow(tmp_path):
    status, out, err = run(tmp_path, CNN)
    assert (status, err) == (0, "") and value(out, "accuracy") > 0.9
    assert "max_pooling2d" in out and "Epoch 30/30" in out


def test_custom_layer_loss_and_lambda(tmp_path):
    status, out, err = run(tmp_path, CUSTOM)
    assert (status, err) == (0, "") and value(out, "share") < 0.2 and value(out, "width") == 64


def test_two_inputs_and_arguments_and_status(tmp_path):
    status, out, err = run(tmp_path, TWO_INPUTS, "--epochs", "30")
    assert (status, err) == (30, "") and value(out, "accuracy") > 0.9


def test_the_script_is_main_with_its_folder_on_the_path(tmp_path):
    (tmp_path / "helper.py").write_text("from keras.layers import Dense\n")
    status, out, _ = run(
        tmp_path,
        """
        import sys, helper, kcompile
        if __name__ == "__main__":
            print(sys.argv[1:], sys.modules["__main__"].helper is helper, __file__ == sys.argv[0])
            print(helper.Dense is kcompile.keras.layers.Dense)
        """,
        "-x",
        "--y",
        "z",
    )
    assert status == 0 and out == "['-x', '--y', 'z'] True True\nTrue\n"


def test_tracebacks_are_the_scripts_alone(tmp_path):
    status, _, err = run(
        tmp_path,
        """\
        def broken():
            return 1 / 0
        broken()
        """,
    )
    assert status == 1 and err.startswith("Traceback (most recent call last):\n")
    assert "line 3, in <module>" in err and "line 2, in broken" in err and "run.py" not in err
    assert err.strip().endswith("ZeroDivisionError: division by zero")
    status, _, err = run(tmp_path, "def (:\n")
    assert status == 1 and "SyntaxError" in err


def test_the_rest_of_tensorflow_is_refused(tmp_path):
    status, _, err = run(tmp_path, "import tensorflow as tf\ntf.RaggedTensor()\n")
    assert status == 1 and "AttributeError: tensorflow.RaggedTensor: the tensorflow of `kcompile run`" in err
    assert "padded_batch" in err
    status, _, err = run(tmp_path, "import tensorflow.lite\n")
    assert status == 1 and "No module named 'tensorflow.lite'" in err and "kcompile.export" in err
    status, _, err = run(tmp_path, "import keras.applications.nowhere\n")
    assert status == 1 and "ModuleNotFoundError" in err


AROUND = """
    import numpy as np
    import tensorflow as tf
    import tensorflow.compat.v1 as tf1
    import keras.backend.tensorflow_backend as KTF
    from keras import backend as K
    from keras.backend.tensorflow_backend import set_session
    from keras.layers import Dense
    from keras.models import Sequential

    config = tf.ConfigProto(gpu_options=tf.GPUOptions(allow_growth=True), allow_soft_placement=True)
    config.gpu_options.per_process_gpu_memory_fraction = 0.4
    set_session(tf.Session(config=config))
    KTF.set_session(tf1.Session(graph=tf.get_default_graph(), config=config))

    def drawn(seed):
        tf.set_random_seed(seed)
        return Sequential([Dense(3, input_dim=2)]).get_weights()[0]

    np.random.seed(1)
    data = [np.random.rand(), drawn(3), np.random.rand()]
    np.random.seed(1)
    again = [np.random.rand(), drawn(4), np.random.rand()]
    print(data[0] == again[0], data[2] == again[2], (drawn(3) == data[1]).all(), (again[1] == data[1]).any())

    with tf.device('/gpu:0'), tf.name_scope('m'):
        model = Sequential([Dense(2, input_dim=3)])
    x = np.ones((2, 3))
    with tf.Session() as session:
        session.run([tf.global_variables_initializer(), tf.local_variables_initializer()])
        values = session.run([model.output, model.weights], {model.input: x, K.learning_phase(): 0})
        print((values[0] == model.predict(x)).all(), values[1][0].shape)
    v = K.variable(2.)
    both = K.get_session().run((v, v * 3))
    print(*both, type(both), type(both[0]), K.get_session().run(K.update_add(v, 1.)), K.get_value(v))
    with tf.get_default_graph().as_default():
        model.predict(x)
    tf.logging.set_verbosity(tf.logging.ERROR)
    tf.reset_default_graph()
    print(K.backend(), tf.test.is_gpu_available(), KTF._get_available_gpus(), K.cast(v, tf.int32).dtype)
    K.set_session(None)
"""


def test_what_scripts_write_around_keras_does_no_harm(tmp_path):
    status, out, err = run(tmp_path, AROUND)
    assert out.splitlines() == [
        "True True True False",
        "True (3, 2)",
        "2.0 6.0 <class 'tuple'> <class 'numpy.float32'> 3.0 3.0",
        "tensorflow False [] int32",
    ]
    assert status == 1 and "K.set_session: expected what tf.Session makes" in err


def test_untraceable_code_names_the_line(tmp_path):
    status, _, err = run(
        tmp_path,
        """\
        import numpy as np
        from keras.layers import Lambda, Input
        x = Input((3,))
        Lambda(lambda t: np.exp(t), name='bad')(x)
        """,
    )
    assert status == 1 and "Layer 'bad' (Lambda): numpy.exp was called" in err
    assert "line 4, in <lambda>: `Lambda(lambda t: np.exp(t), name='bad')(x)`" in err


def test_a_script_that_is_not_there(tmp_path):
    result = subprocess.run(
        [sys.executable, "-m", "kcompile", "run", str(tmp_path / "no.py")], capture_output=True, text=True
    )
    assert result.returncode == 2 and result.stderr.startswith("kcompile: error:")


def test_the_process_is_as_before(tmp_path):
    script = tmp_path / "script.py"
    script.write_text("import keras, sys\nassert keras.__name__ == 'kcompile.keras'\n")
    import kcompile.keras  # noqa: F401 (which finds its modules under the names of Keras 2, from now on)

    before = sys.argv, sys.path[:], sys.modules["__main__"], sys.meta_path[:]
    assert run_script(script) == 0
    assert (sys.argv, sys.path, sys.modules["__main__"], sys.meta_path) == before


@pytest.mark.parametrize(
    "keras, name, home",
    [
        ("2", "keras.layers.embeddings", "kcompile.keras."),
        ("2", "keras.utils.np_utils", "kcompile.keras."),
        ("2", "keras.engine.base_layer", "kcompile.keras."),
        ("2", "keras.backend", "kcompile.keras."),
        ("2", "keras.callbacks", "kcompile.keras."),
        ("3", "keras.layers", "kcompile.keras3."),
        ("3", "keras.utils", "kcompile.keras3."),
        ("2", "tensorflow.keras.layers", "kcompile.tf_keras."),
        ("3", "tensorflow.keras.layers", "kcompile.tf_keras."),
        ("2", "tf_keras.layers", "kcompile.tf_keras."),
        ("2", "tensorflow.python.keras.layers", "kcompile.tf_keras."),
        ("2", "tensorflow.keras.layers.embeddings", "kcompile.tf_keras."),
        ("2", "keras.utils.data_utils", "kcompile.keras.utils.data_utils"),
        ("2", "keras.preprocessing.image", "kcompile.keras.preprocessing.image"),
        ("2", "keras.datasets.mnist", "kcompile.keras.datasets.mnist"),
        ("3", "keras.datasets.cifar10", "kcompile.keras3.datasets.cifar10"),
        ("2", "tensorflow.keras.preprocessing.text", "kcompile.tf_keras.preprocessing.text"),
    ],
)
def test_names_of_modules(keras, name, home):
    import importlib

    with as_keras(keras):
        found = importlib.import_module(name)
        root = importlib.import_module(name.split(".keras")[0] if name.startswith("tensorflow") else name)
    assert found.__name__.startswith(home)
    assert root.__name__ in ("tensorflow", "tensorflow.python", found.__name__)


def test_modules_are_attributes_without_an_import_of_their_own(tmp_path):
    status, out, err = run(
        tmp_path,
        """\
        import keras
        import tensorflow as tf
        print(keras.preprocessing.sequence.pad_sequences([[1], [2, 3]], padding="post").tolist())
        print(keras.datasets.digits.load_data()[0][0].shape, hasattr(keras.datasets.mnist, "load_data"))
        print(tf.keras.preprocessing.image.ImageDataGenerator().center_offset)
        print(tf.keras.utils.pad_sequences([[1]]))
        from keras import datasets, preprocessing
        assert datasets is keras.datasets and "imdb" in dir(datasets) and "text" in dir(preprocessing)
        preprocessing.nothing
        """,
    )
    assert out == "[[1, 0], [2, 3]]\n(1438, 8, 8) True\n-0.5\n[[1]]\n"
    assert status == 1 and "kcompile does not have this part of Keras 2" in err


DEFAULTS = """
    from {}.layers import GRU, LSTM, Dense
    from {}.models import Sequential
    model = Sequential([Dense(1, input_shape=(2,))])
    model.compile('sgd', 'mse', metrics=['accuracy'])
    print(LSTM(3).get_config()["recurrent_activation"], GRU(3).reset_after, Dense(1).name,
          model.trainer.names())
    """


WEIGHTED = """
    import numpy as np
    import keras
    from keras.layers import Dense
    from keras.models import Sequential

    model = Sequential([Dense(1, kernel_initializer="ones", use_bias=False, input_shape=(1,))])
    model.compile("sgd", "mse", weighted_metrics=["mse"])
    x = np.arange(1.0, 6.0)[:, None]
    found = model.evaluate(x, x * 0, 2, verbose=0, sample_weight=np.array([0.0, 1.0, 3.0, 1.0, 2.0]))
    print(keras.__version__, *(round(float(value), 3) for value in found))
"""


def told_by(tmp_path, source, options, environment):
    """What a script writes to stdout and stderr. options: of `kcompile run`."""
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(source))
    done = subprocess.run(
        [sys.executable, "-m", "kcompile", "run", *options, str(script)],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )
    return done.stdout, done.stderr


@pytest.mark.parametrize(
    "keras, arguments, environment, told",
    [
        ("keras", [], {}, "hard_sigmoid False dense_2 ['loss', 'acc']"),
        ("tensorflow.keras", [], {}, "sigmoid True dense_1 ['loss', 'accuracy']"),
        ("tensorflow.keras", ["--keras", "3"], {}, "sigmoid True dense_1 ['loss', 'accuracy']"),
        ("keras", ["--keras", "3"], {}, "sigmoid True dense_1 ['loss', 'accuracy']"),
        ("keras", [], {"KC_KERAS": "3"}, "sigmoid True dense_1 ['loss', 'accuracy']"),
        ("keras", ["--keras", "2"], {"KC_KERAS": "3"}, "hard_sigmoid False dense_2 ['loss', 'acc']"),
        ("keras", ["--keras", "2.2.4"], {}, "hard_sigmoid False dense_2 ['loss', 'acc']"),
    ],
)
def test_a_script_has_a_vintage(tmp_path, keras, arguments, environment, told):
    assert told_by(tmp_path, DEFAULTS.replace("{}", keras), arguments, environment) == (told + "\n", "")


def test_a_wrong_vintage_is_refused(tmp_path):
    status, _, err = run(tmp_path, "import keras", KC_KERAS="4")
    assert status == 2 and "KC_KERAS: expected 2, 2.2.4, 2.3.1 or 3. Received: '4'" in err


@pytest.mark.parametrize(
    "arguments, environment, told",
    [
        ([], {}, "2.3.1 20.2 13.857"),
        (["--keras", "2.3.1"], {"KC_KERAS": "2.2.4"}, "2.3.1 20.2 13.857"),
        (["--keras", "2.2.4"], {}, "2.2.4 20.2 20.2"),
        ([], {"KC_KERAS": "2.2.4"}, "2.2.4 20.2 20.2"),
    ],
)
def test_a_script_of_keras_2_has_a_version(tmp_path, arguments, environment, told):
    """The loss and a weighted metric, as Keras 2.2.4 has them (2.3.1: 19.4 and 13.857)."""
    assert told_by(tmp_path, WEIGHTED, arguments, environment) == (told + "\n", "")


@pytest.mark.parametrize(
    "source, arguments, told",
    [
        ("from keras import ops", [], "Keras 3 has it: run the script with `kcompile run --keras 3`"),
        ("import keras.ops", [], "Keras 3 has it: run the script with `kcompile run --keras 3`"),
        ("import keras\nkeras.ops.mean", [], "Keras 3 has it: run the script with `kcompile run --keras 3`"),
        (
            "from keras.layers import CuDNNLSTM",
            ["--keras", "3"],
            "Keras 2 has it: run the script without --keras 3",
        ),
        ("import keras\nkeras.layers.CuDNNLSTM", ["--keras", "3"], "Keras 2 has it"),
        ("from tensorflow.keras.layers import Merge", [], "Keras 2 has it"),
        ("from keras.layers import Nowhere", [], "kcompile does not have this part of Keras 2"),
        ("from keras.distribution import DataParallel", ["--keras", "3"], "compiled for one device"),
    ],
)
def test_what_another_keras_has_is_said(tmp_path, source, arguments, told):
    script = tmp_path / "script.py"
    script.write_text(source)
    done = subprocess.run(
        [sys.executable, "-m", "kcompile", "run", *arguments, str(script)], capture_output=True, text=True
    )
    assert done.returncode == 1 and told in done.stderr.splitlines()[-1]
