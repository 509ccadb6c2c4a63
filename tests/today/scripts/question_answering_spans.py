"""Question answering: spans by two softmax heads over an encoder with an attention mask."""

import keras
import numpy as np
from keras import layers, ops

L, V, E = 24, 100, 16
ids = layers.Input(shape=(L,), dtype="int32", name="input_ids")
tt = layers.Input(shape=(L,), dtype="int32", name="token_type_ids")
am = layers.Input(shape=(L,), dtype="int32", name="attention_mask")
emb = layers.Embedding(V, E)(ids) + layers.Embedding(2, E)(tt) + layers.Embedding(L, E)(ops.arange(L))
mask = ops.cast(am[:, None, :], "bool")
a = layers.MultiHeadAttention(2, 8)(emb, emb, attention_mask=mask)
h = layers.LayerNormalization()(emb + a)
start_logits = layers.Dense(1, name="start_logit", use_bias=False)(h)
start_logits = layers.Flatten()(start_logits)
end_logits = layers.Dense(1, name="end_logit", use_bias=False)(h)
end_logits = layers.Flatten()(end_logits)
start_probs = layers.Activation(keras.activations.softmax)(start_logits)
end_probs = layers.Activation(keras.activations.softmax)(end_logits)
model = keras.Model(inputs=[ids, tt, am], outputs=[start_probs, end_probs])
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=False)
model.compile(optimizer=keras.optimizers.Adam(5e-3), loss=[loss, loss])
model.summary()
r = np.random.RandomState(0)
x = [r.randint(0, V, (32, L)), r.randint(0, 2, (32, L)), (r.rand(32, L) > 0.1).astype("int32")]
y = [r.randint(0, L, 32), r.randint(0, L, 32)]


class ExactMatch(keras.callbacks.Callback):
    def __init__(self, x, y):
        self.x, self.y = x, y

    def on_epoch_end(self, epoch, logs=None):
        s, e = self.model.predict(self.x, verbose=0)
        acc = np.mean((s.argmax(1) == self.y[0]) & (e.argmax(1) == self.y[1]))
        print(f"\nepoch={epoch + 1}, exact match score={acc:.2f}")


h = model.fit(x, y, epochs=3, verbose=0, batch_size=8, callbacks=[ExactMatch(x, y)])
print(sorted(h.history))
