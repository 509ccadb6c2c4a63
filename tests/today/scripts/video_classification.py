"""Video classification: features of frames by a frozen CNN, a GRU with a mask of frames."""

import keras
import numpy as np
from keras import layers

rng = np.random.default_rng(10)
MAX_SEQ, NUM_FEATURES, IMG = 6, 16, 16
videos = [rng.integers(0, 255, (rng.integers(3, 9), IMG, IMG, 3)).astype("uint8") for _ in range(20)]
names = rng.choice(["cricket", "punch", "tennis"], 20)

label_processor = layers.StringLookup(num_oov_indices=0, vocabulary=np.unique(names), output_mode="int")
print(label_processor.get_vocabulary())
labels = keras.ops.convert_to_numpy(label_processor(names[..., None]))


class CenterCrop(layers.Layer):
    def __init__(self, height, width, **kwargs):
        super().__init__(**kwargs)
        self.crop = layers.CenterCrop(height, width)

    def call(self, x):
        return self.crop(x)


def build_feature_extractor():
    base = keras.Sequential(
        [
            layers.Input((12, 12, 3)),
            layers.SeparableConv2D(8, 3, strides=2, activation="relu"),
            layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2),
            layers.BatchNormalization(),
            layers.GlobalMaxPooling2D(),
        ],
        name="base",
    )
    base.trainable = False
    inputs = keras.Input((IMG, IMG, 3))
    cropped = CenterCrop(12, 12)(inputs)
    outputs = base(layers.Rescaling(1 / 127.5, offset=-1)(cropped))
    return keras.Model(inputs, outputs, name="feature_extractor")


extractor = build_feature_extractor()


def prepare(videos):
    masks = np.zeros((len(videos), MAX_SEQ), dtype="bool")
    features = np.zeros((len(videos), MAX_SEQ, NUM_FEATURES), dtype="float32")
    for idx, frames in enumerate(videos):
        frames = frames[None, ...]
        for batch in frames:
            length = min(MAX_SEQ, batch.shape[0])
            for j in range(length):
                features[idx, j, :] = extractor.predict(batch[None, j, :], verbose=0)
            masks[idx, :length] = 1
    return features, masks


with_events = prepare(videos[:3])
features = np.stack([np.resize(extractor.predict_on_batch(v), (MAX_SEQ, NUM_FEATURES)) for v in videos])
masks = np.stack([np.arange(MAX_SEQ) < len(v) for v in videos])


def sequence_model():
    frame_features = keras.Input((MAX_SEQ, NUM_FEATURES))
    mask_input = keras.Input((MAX_SEQ,), dtype="bool")
    x = layers.GRU(16, return_sequences=True)(frame_features, mask=mask_input)
    x = layers.GRU(8)(x)
    x = layers.Dropout(0.4)(x)
    x = layers.Dense(8, activation="relu")(x)
    out = layers.Dense(len(label_processor.get_vocabulary()), activation="softmax")(x)
    model = keras.Model([frame_features, mask_input], out)
    model.compile(loss="sparse_categorical_crossentropy", optimizer="adam", metrics=["accuracy"])
    return model


checkpoint = keras.callbacks.ModelCheckpoint(
    "ckpt.weights.h5", save_weights_only=True, save_best_only=True, verbose=1
)
model = sequence_model()
model.fit(
    [features, masks], labels, validation_split=0.3, epochs=5, batch_size=7, callbacks=[checkpoint], verbose=0
)
model.load_weights("ckpt.weights.h5")
_, acc = model.evaluate([features, masks], labels, verbose=0)
p = model.predict([features[:1], masks[:1]], verbose=0)[0]
for i in np.argsort(p)[::-1]:
    print(f"  {label_processor.get_vocabulary()[i]}: {p[i] * 100:5.2f}%")
