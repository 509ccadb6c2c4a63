"""Two RNNs read a story and a question; the question's vector is repeated along the story."""

import numpy as np
from keras import layers
from keras.layers import recurrent
from keras.models import Model
from keras.preprocessing.sequence import pad_sequences

RNN = recurrent.LSTM
rng = np.random.RandomState(0)
stories = [rng.randint(1, 9, rng.randint(4, 8)).tolist() for _ in range(200)]
questions = [[story[0]] for story in stories]
answers = np.eye(10)[[story[0] for story in stories]]
x, xq = pad_sequences(stories, 8), pad_sequences(questions, 2)

sentence = layers.Input(shape=(8,), dtype="int32")
encoded_sentence = layers.Dropout(0.1)(layers.Embedding(10, 16)(sentence))
question = layers.Input(shape=(2,), dtype="int32")
encoded_question = layers.Dropout(0.1)(layers.Embedding(10, 16)(question))
encoded_question = layers.RepeatVector(8)(RNN(16)(encoded_question))
merged = layers.add([encoded_sentence, encoded_question])
merged = layers.Dropout(0.1)(RNN(16)(merged))
preds = layers.Dense(10, activation="softmax")(merged)
model = Model([sentence, question], preds)
model.compile(optimizer="adam", loss="categorical_crossentropy", metrics=["accuracy"])
losses = model.fit([x, xq], answers, batch_size=32, epochs=10, validation_split=0.05, verbose=0).history[
    "loss"
]
loss, acc = model.evaluate([x, xq], answers, batch_size=32)
print(f"Test loss / test accuracy = {loss:.4f} / {acc:.4f}")
assert losses[-1] < losses[0]
