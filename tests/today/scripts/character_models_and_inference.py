"""Characters to characters by LSTMs: inference models cut out of a loaded file, sums of digits, samples."""

import keras
import numpy as np
from keras import layers

r = np.random.RandomState(0)
NE, ND, latent, T1, T2 = 11, 13, 16, 7, 8
enc = np.eye(NE, dtype="float32")[r.randint(0, NE, (32, T1))]
dec = np.eye(ND, dtype="float32")[r.randint(0, ND, (32, T2))]
tgt = np.roll(dec, -1, 1)
encoder_inputs = keras.Input(shape=(None, NE))
encoder = keras.layers.LSTM(latent, return_state=True)
encoder_outputs, state_h, state_c = encoder(encoder_inputs)
encoder_states = [state_h, state_c]
decoder_inputs = keras.Input(shape=(None, ND))
decoder_lstm = keras.layers.LSTM(latent, return_sequences=True, return_state=True)
decoder_outputs, _, _ = decoder_lstm(decoder_inputs, initial_state=encoder_states)
decoder_dense = keras.layers.Dense(ND, activation="softmax")
decoder_outputs = decoder_dense(decoder_outputs)
model = keras.Model([encoder_inputs, decoder_inputs], decoder_outputs)
model.compile(optimizer="rmsprop", loss="categorical_crossentropy", metrics=["accuracy"])
model.fit([enc, dec], tgt, batch_size=16, epochs=3, validation_split=0.2, verbose=0)
model.save("s2s_model.keras")
model = keras.models.load_model("s2s_model.keras")
encoder_inputs = model.input[0]
encoder_outputs, state_h_enc, state_c_enc = model.layers[2].output
encoder_states = [state_h_enc, state_c_enc]
encoder_model = keras.Model(encoder_inputs, encoder_states)
decoder_inputs = model.input[1]
decoder_state_input_h = keras.Input(shape=(latent,))
decoder_state_input_c = keras.Input(shape=(latent,))
decoder_states_inputs = [decoder_state_input_h, decoder_state_input_c]
decoder_lstm = model.layers[3]
decoder_outputs, state_h_dec, state_c_dec = decoder_lstm(decoder_inputs, initial_state=decoder_states_inputs)
decoder_states = [state_h_dec, state_c_dec]
decoder_dense = model.layers[4]
decoder_outputs = decoder_dense(decoder_outputs)
decoder_model = keras.Model([decoder_inputs] + decoder_states_inputs, [decoder_outputs] + decoder_states)


def decode_sequence(s):
    states_value = encoder_model.predict(s, verbose=0)
    target_seq = np.zeros((1, 1, ND))
    target_seq[0, 0, 1] = 1.0
    out = []
    while len(out) < 6:
        output_tokens, h, c = decoder_model.predict([target_seq] + states_value, verbose=0)
        k = np.argmax(output_tokens[0, -1, :])
        out.append(int(k))
        target_seq = np.zeros((1, 1, ND))
        target_seq[0, 0, k] = 1.0
        states_value = [h, c]
    return out


print(decode_sequence(enc[:1]))
# addition
model = keras.Sequential()
model.add(layers.Input((T1, NE)))
model.add(layers.LSTM(16))
model.add(layers.RepeatVector(4))
for _ in range(1):
    model.add(layers.LSTM(16, return_sequences=True))
model.add(layers.Dense(NE, activation="softmax"))
model.compile(
    loss="categorical_crossentropy",
    optimizer=keras.optimizers.Adam(learning_rate=0.001),
    metrics=["accuracy"],
)
model.summary()
y = np.eye(NE)[r.randint(0, NE, (32, 4))].astype(bool)
for _epoch in range(2):
    model.fit(enc.astype(bool), y, batch_size=16, epochs=1, validation_data=(enc[:8], y[:8]), verbose=0)
    rowx = enc[:1]
    preds = np.argmax(model.predict(rowx, verbose=0), axis=-1)
    print(preds)
# lstm text generation
model = keras.Sequential(
    [keras.Input(shape=(T1, NE)), layers.LSTM(16), layers.Dense(NE, activation="softmax")]
)
model.compile(loss="categorical_crossentropy", optimizer=keras.optimizers.RMSprop(learning_rate=0.01))


def sample(preds, temperature=1.0):
    preds = np.asarray(preds).astype("float64")
    preds = np.log(preds) / temperature
    e = np.exp(preds)
    preds = e / np.sum(e)
    return np.argmax(np.random.RandomState(0).multinomial(1, preds, 1))


for _epoch in range(2):
    model.fit(enc, enc[:, 0], batch_size=16, epochs=1, verbose=0)
    print(int(sample(model.predict(enc[:1], verbose=0)[0], 0.5)))
