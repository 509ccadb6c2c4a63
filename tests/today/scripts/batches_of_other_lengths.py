"""A subclassed tagger whose batches have other lengths."""

import keras
import numpy as np
from keras import layers, ops


class Pos(layers.Layer):
    def __init__(self, n, v, d):
        super().__init__()
        self.t, self.p = layers.Embedding(v, d), layers.Embedding(n, d)

    def call(self, x):
        return self.t(x) + self.p(ops.arange(0, ops.shape(x)[-1], 1))


class Tagger(keras.Model):
    def __init__(self):
        super().__init__()
        self.e = Pos(24, 30, 8)
        self.a = layers.MultiHeadAttention(2, 4)
        self.d = layers.Dense(4, activation="softmax")

    def call(self, x, training=False):
        h = self.e(x)
        return self.d(h + self.a(h, h))


def data():
    r = np.random.RandomState(0)
    for n in (7, 12, 7, 20, 12, 9):
        yield r.randint(0, 30, (8, n)), r.randint(0, 4, (8, n))


class B(keras.utils.PyDataset):
    def __init__(self, **k):
        super().__init__(**k)
        self.d = list(data())

    def __len__(self):
        return len(self.d)

    def __getitem__(self, i):
        return self.d[i]


m = Tagger()
m.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
print(m.fit(B(), epochs=3, verbose=0, validation_data=B()).history)
print(m.evaluate(B(), verbose=0))
for x, _ in data():
    print(m.predict(x, verbose=0).shape, m.train_on_batch(*next(data())))
t = Tagger()
t.compile("adam", "sparse_categorical_crossentropy")
t.predict(np.zeros((1, 5), "int32"), verbose=0)
print(t.predict(np.zeros((2, 8), "int32"), verbose=0).shape)
