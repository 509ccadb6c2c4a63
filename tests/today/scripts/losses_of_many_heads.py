"""tf.keras: multi-label and softmax heads with binary losses, class weights, focal losses, masks, temporal weights."""

import numpy as np
from tensorflow import keras
from tensorflow.keras import layers, backend as K

rng = np.random.RandomState(2)
N = 48
x = rng.normal(size=(N, 9, 4)).astype("float32")
lens = rng.randint(3, 10, N)
x[np.arange(9)[None] >= lens[:, None]] = 0
lab = (rng.rand(N, 5) > 0.7).astype("float32")
two = keras.utils.to_categorical(rng.randint(0, 2, N), 2)
steps = rng.randint(0, 3, (N, 9))


def base():
    i = keras.Input((9, 4))
    h = layers.Masking()(i)
    return i, layers.Bidirectional(layers.LSTM(6, return_sequences=True), merge_mode="sum")(h)


i, h = base()
p = layers.LSTM(7)(h)
m = keras.Model(
    i,
    [
        layers.Dense(5, activation="sigmoid", name="labels")(p),
        layers.Dense(2, activation="softmax", name="two")(p),
        layers.TimeDistributed(layers.Dense(3, activation="softmax"), name="steps")(h),
    ],
)
m.compile(
    "adam",
    loss={
        "labels": keras.losses.BinaryFocalCrossentropy(gamma=1.5, apply_class_balancing=True),
        "two": "binary_crossentropy",
        "steps": "sparse_categorical_crossentropy",
    },
    loss_weights=[1.0, 0.5, 2.0],
    metrics={
        "labels": [keras.metrics.AUC(multi_label=True, name="auc"), "binary_accuracy"],
        "two": ["accuracy", keras.metrics.BinaryCrossentropy(name="bce")],
        "steps": ["accuracy", keras.metrics.SparseCategoricalCrossentropy(name="xe")],
    },
)
Y = {"labels": lab, "two": two, "steps": steps}
W = {"labels": rng.rand(N), "two": np.ones(N), "steps": (rng.rand(N, 9) > 0.3).astype("float32")}
m.fit(x, Y, sample_weight=W, epochs=3, batch_size=12, verbose=0)
m.evaluate(x, Y, verbose=0)
m.evaluate(x, Y, sample_weight=W, verbose=0)


def own(t, y):
    return K.mean(K.binary_crossentropy(t, y) * (1.0 + 3.0 * t), axis=-1)


i, h = base()
q = keras.Model(
    i,
    layers.Dense(5, activation="sigmoid", kernel_initializer=keras.initializers.RandomNormal(stddev=12.0))(
        layers.GlobalMaxPooling1D()(h)
    ),
)
q.compile(
    keras.optimizers.SGD(0.5, momentum=0.9, nesterov=True),
    own,
    metrics=[
        keras.metrics.Precision(),
        keras.metrics.Recall(),
        "binary_crossentropy",
        keras.metrics.F1Score(average="macro", threshold=0.5),
    ],
)
q.fit(x, lab, epochs=4, batch_size=16, verbose=0, validation_split=0.25)
i, h = base()
r = keras.Model(i, layers.Dense(2, activation="softmax")(layers.Flatten()(layers.Dense(3)(h))))
r.compile(
    keras.optimizers.Adagrad(0.1),
    keras.losses.CategoricalFocalCrossentropy(alpha=0.3, label_smoothing=0.1),
    metrics=["accuracy"],
    weighted_metrics=["categorical_crossentropy"],
)
r.fit(x, two, class_weight={0: 1.0, 1: 4.0}, epochs=3, batch_size=16, verbose=0)
r.save("r.h5")
s = keras.models.load_model("r.h5")
s.fit(x, two, class_weight={0: 1.0, 1: 4.0}, epochs=2, batch_size=16, verbose=0)
s.predict(x[:4], verbose=0)
