"""Sequence to sequence: an encoder and a decoder that writes a text character by character, saved and
restored.

Shows states that go from one LSTM to another, a model with two inputs for training, two models over the
same layers for decoding, and both built again from the file of the first. The task is to write a word
backwards.

    kcompile run examples/keras2/seq2seq.py
"""

import os
import tempfile

import numpy as np
from keras.layers import LSTM, Dense, Input
from keras.models import Model, load_model

LETTERS, LENGTH, LATENT = "abcd", 3, 48
START, END = "\t", "\n"
tokens = [*LETTERS, START, END]
index = {token: i for i, token in enumerate(tokens)}


def one_hot(texts, length):
    found = np.zeros((len(texts), length, len(tokens)), "float32")
    for i, text in enumerate(texts):
        for t, token in enumerate(text):
            found[i, t, index[token]] = 1
    return found


words = ["".join(letters) for letters in np.random.RandomState(0).choice([*LETTERS], (300, LENGTH))]
encoder_data = one_hot(words, LENGTH)
decoder_data = one_hot([START + word[::-1] for word in words], LENGTH + 1)
decoder_target = one_hot([word[::-1] + END for word in words], LENGTH + 1)

encoder_inputs = Input(shape=(None, len(tokens)))
_, state_h, state_c = LSTM(LATENT, return_state=True)(encoder_inputs)
decoder_inputs = Input(shape=(None, len(tokens)))
decoder_outputs, _, _ = LSTM(LATENT, return_sequences=True, return_state=True)(
    decoder_inputs, initial_state=[state_h, state_c]
)
decoder_outputs = Dense(len(tokens), activation="softmax")(decoder_outputs)
model = Model([encoder_inputs, decoder_inputs], decoder_outputs)
model.compile(optimizer="rmsprop", loss="categorical_crossentropy")
model.fit([encoder_data, decoder_data], decoder_target, batch_size=20, epochs=40, verbose=2)
path = os.path.join(tempfile.mkdtemp(), "s2s.h5")
model.save(path)

model = load_model(path)
encoder_inputs = model.input[0]
_, state_h, state_c = model.layers[2].output
encoder = Model(encoder_inputs, [state_h, state_c])
decoder_inputs = model.input[1]
states = [Input(shape=(LATENT,), name="h"), Input(shape=(LATENT,), name="c")]
decoded, state_h, state_c = model.layers[3](decoder_inputs, initial_state=states)
decoder = Model([decoder_inputs, *states], [model.layers[4](decoded), state_h, state_c])


def decode(encoded):
    state, text = encoder.predict(encoded), START
    while text[-1] != END and len(text) <= LENGTH + 1:
        scores, *state = decoder.predict([one_hot([text[-1]], 1), *state])
        text += tokens[int(scores[0, -1].argmax())]
    return text.strip()


found = [decode(encoder_data[i : i + 1]) for i in range(20)]
right = sum(text == word[::-1] for text, word in zip(found, words))
print(list(zip(words, found))[:5], f"{right} of 20 are right")
assert right > 10
