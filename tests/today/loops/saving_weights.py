import sys

import numpy as np
from noting import done, note, settle

rng = np.random.RandomState(0)
import os, tempfile
import tensorflow as tf

os.chdir(tempfile.mkdtemp())


def create_model():
    m = tf.keras.Sequential(
        [tf.keras.layers.Dense(8, activation="relu", input_shape=(4,)), tf.keras.layers.Dense(3)]
    )
    m.compile(
        optimizer="adam",
        loss=tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=[tf.keras.metrics.SparseCategoricalAccuracy()],
    )
    return m


x = rng.rand(24, 4).astype("float32")
y = rng.randint(0, 3, 24)
m = create_model()
settle(m)
checkpoint_path = "training_1/cp.ckpt"
checkpoint_dir = os.path.dirname(checkpoint_path)
cb = tf.keras.callbacks.ModelCheckpoint(filepath=checkpoint_path, save_weights_only=True, verbose=1)
m.fit(x, y, epochs=3, shuffle=False, validation_data=(x, y), callbacks=[cb], verbose=0)
assert "checkpoint" in os.listdir(checkpoint_dir)
loss, acc = m.evaluate(x, y, verbose=0)
note(loss, acc)
m2 = create_model()
m2.load_weights(checkpoint_path)
note(m2.evaluate(x, y, verbose=0))
cp = "training_2/cp-{epoch:04d}.ckpt"
m2 = create_model()
settle(m2)
m2.save_weights(cp.format(epoch=0))
m2.fit(
    x,
    y,
    epochs=6,
    batch_size=8,
    shuffle=False,
    callbacks=[
        tf.keras.callbacks.ModelCheckpoint(filepath=cp, verbose=0, save_weights_only=True, save_freq=2 * 3)
    ],
    verbose=0,
)
latest = tf.train.latest_checkpoint(os.path.dirname(cp))
print(latest)
assert latest.endswith("cp-0006.ckpt"), latest
m3 = create_model()
s = m3.load_weights(latest)
s.expect_partial()
note(m3.evaluate(x, y, verbose=0))
m3.save_weights("./checkpoints/my_checkpoint")
m4 = create_model()
m4.load_weights("./checkpoints/my_checkpoint").assert_existing_objects_matched()
note(m4.evaluate(x, y, verbose=0))
m4.save_weights("w", save_format="tf")
m4.load_weights("w")
try:
    m4.load_weights("nothing_here")
    note(0)
except Exception as e:
    note(1)
done()
