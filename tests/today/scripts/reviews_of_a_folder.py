"""Reviews of a folder: text_dataset_from_directory, standardisation by tf.strings, vectorisation, embeddings, export of both together."""

import os
import re
import string
import tempfile

import numpy as np
import tensorflow as tf
from tensorflow.keras import layers, losses
from tensorflow.keras.layers import TextVectorization

root = tempfile.mkdtemp()
rng = np.random.RandomState(0)
GOOD, BAD, COMMON = (
    "great lovely fine".split(),
    "awful boring bad".split(),
    "the film was a story of it and".split(),
)
for split, count in (("train", 24), ("test", 8)):
    for label, words in (("pos", GOOD), ("neg", BAD)):
        os.makedirs(os.path.join(root, split, label))
        for i in range(count // 2):
            text = " ".join(rng.choice(COMMON, 4).tolist() + rng.choice(words, 2).tolist()) + "<br />Done."
            with open(os.path.join(root, split, label, f"{i}.txt"), "w") as f:
                f.write(text)
batch_size, seed = 8, 42
raw_train_ds = tf.keras.utils.text_dataset_from_directory(
    os.path.join(root, "train"),
    batch_size=batch_size,
    validation_split=0.25,
    subset="training",
    seed=seed,
    shuffle=False,
)
raw_val_ds = tf.keras.utils.text_dataset_from_directory(
    os.path.join(root, "train"),
    batch_size=batch_size,
    validation_split=0.25,
    subset="validation",
    seed=seed,
    shuffle=False,
)
raw_test_ds = tf.keras.preprocessing.text_dataset_from_directory(
    os.path.join(root, "test"), batch_size=batch_size, shuffle=False
)
for text_batch, label_batch in raw_train_ds.take(1):
    for i in range(2):
        print("Review", text_batch.numpy()[i][-15:], "Label", label_batch.numpy()[i])
print("Label 0 corresponds to", raw_train_ds.class_names[0])


def custom_standardization(input_data):
    lowercase = tf.strings.lower(input_data)
    stripped_html = tf.strings.regex_replace(lowercase, "<br />", " ")
    return tf.strings.regex_replace(stripped_html, "[%s]" % re.escape(string.punctuation), "")


max_features, sequence_length = 30, 10
vectorize_layer = TextVectorization(
    standardize=custom_standardization,
    max_tokens=max_features,
    output_mode="int",
    output_sequence_length=sequence_length,
)
train_text = raw_train_ds.map(lambda x, y: x)
vectorize_layer.adapt(train_text)


def vectorize_text(text, label):
    text = tf.expand_dims(text, -1)
    return vectorize_layer(text), label


text_batch, label_batch = next(iter(raw_train_ds))
first_review, first_label = text_batch[0], label_batch[0]
print("Vectorized", vectorize_text(first_review, first_label)[0].shape, len(vectorize_layer.get_vocabulary()))
train_ds = raw_train_ds.map(vectorize_text).cache().prefetch(buffer_size=tf.data.AUTOTUNE)
val_ds = raw_val_ds.map(vectorize_text).cache().prefetch(buffer_size=tf.data.AUTOTUNE)
test_ds = raw_test_ds.map(vectorize_text)
model = tf.keras.Sequential(
    [
        layers.Embedding(max_features, 8),
        layers.Dropout(0.2),
        layers.GlobalAveragePooling1D(),
        layers.Dropout(0.2),
        layers.Dense(1),
    ]
)
model.compile(
    loss=losses.BinaryCrossentropy(from_logits=True),
    optimizer="adam",
    metrics=tf.metrics.BinaryAccuracy(threshold=0.0),
)
history = model.fit(train_ds, validation_data=val_ds, epochs=4, verbose=0)
loss, accuracy = model.evaluate(test_ds, verbose=0)
print(history.history.keys())
export_model = tf.keras.Sequential([vectorize_layer, model, layers.Activation("sigmoid")])
export_model.compile(
    loss=losses.BinaryCrossentropy(from_logits=False), optimizer="adam", metrics=["accuracy"]
)
export_model.evaluate(raw_test_ds, verbose=0)
examples = tf.constant(["The film was great!", "The film was boring."])
export_model.predict(examples, verbose=0)
weights = model.get_layer("embedding").get_weights()[0]
print(weights.shape)

# characters: ids, windows, a model of GRU with states carried in its call
text = "to be or not to be that is the question " * 6
vocab = sorted(set(text))
ids_from_chars = layers.StringLookup(vocabulary=list(vocab), mask_token=None)
chars_from_ids = layers.StringLookup(vocabulary=ids_from_chars.get_vocabulary(), invert=True, mask_token=None)
all_ids = ids_from_chars(tf.strings.unicode_split(text, "UTF-8"))
ids_dataset = tf.data.Dataset.from_tensor_slices(all_ids)
for ids in ids_dataset.take(2):
    print(chars_from_ids(ids).numpy().decode("utf-8"))
sequences = ids_dataset.batch(11, drop_remainder=True)
data = sequences.map(lambda s: (s[:-1], s[1:])).batch(4, drop_remainder=True)


class MyModel(tf.keras.Model):
    def __init__(self, vocab_size, embedding_dim, rnn_units):
        super().__init__(self)
        self.embedding = tf.keras.layers.Embedding(vocab_size, embedding_dim)
        self.gru = tf.keras.layers.GRU(rnn_units, return_sequences=True, return_state=True)
        self.dense = tf.keras.layers.Dense(vocab_size)

    def call(self, inputs, states=None, return_state=False, training=False):
        x = self.embedding(inputs, training=training)
        if states is None:
            states = self.gru.get_initial_state(x)
        x, states = self.gru(x, initial_state=states, training=training)
        x = self.dense(x, training=training)
        if return_state:
            return x, states
        return x


char_model = MyModel(len(ids_from_chars.get_vocabulary()), 8, 16)
for input_example_batch, target_example_batch in data.take(1):
    print(char_model(input_example_batch).shape)
char_model.compile(optimizer="adam", loss=tf.losses.SparseCategoricalCrossentropy(from_logits=True))
char_model.fit(data, epochs=2, verbose=0)
states = None
next_char, result = tf.constant(["to"]), [tf.constant(["to"])]
for n in range(3):
    input_ids = tf.convert_to_tensor(
        ids_from_chars(tf.constant([list("to")] if n == 0 else [[c.decode()] for c in next_char.numpy()]))
    )
    logits, states = char_model(inputs=input_ids, states=states, return_state=True)
    predicted_ids = tf.argmax(logits[:, -1, :] / 1.0, axis=-1)
    next_char = chars_from_ids(predicted_ids)
    result.append(next_char)
print(len(tf.strings.join(result)[0].numpy().decode("utf-8")) == 5)
