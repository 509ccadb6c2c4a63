"""Translation with Bahdanau's attention, as layers of one's own in a model with a train_step."""

import re
import unicodedata

import numpy as np
import tensorflow as tf

tf.random.set_seed(0)

PAIRS = [
    ("go on .", "weiter ."),
    ("i see .", "ich sehe ."),
    ("you see me .", "du siehst mich ."),
    ("i go .", "ich gehe ."),
    ("you go on .", "du gehst weiter ."),
    ("see me .", "sieh mich ."),
] * 4


def preprocess(w):
    w = "".join(c for c in unicodedata.normalize("NFD", w.lower().strip()) if unicodedata.category(c) != "Mn")
    w = re.sub(r"([?.!,])", r" \1 ", w)
    return "<start> " + re.sub(r'[" "]+', " ", w).strip() + " <end>"


def tokenize(lang):
    tok = tf.keras.preprocessing.text.Tokenizer(filters="")
    tok.fit_on_texts(lang)
    seqs = tok.texts_to_sequences(lang)
    return tf.keras.preprocessing.sequence.pad_sequences(seqs, padding="post"), tok


inp, inp_tok = tokenize([preprocess(a) for a, _ in PAIRS])
targ, targ_tok = tokenize([preprocess(b) for _, b in PAIRS])
BATCH, UNITS, EMB = 8, 16, 12
vocab_in, vocab_out = len(inp_tok.word_index) + 1, len(targ_tok.word_index) + 1
dataset = tf.data.Dataset.from_tensor_slices((inp, targ)).shuffle(len(inp)).batch(BATCH, drop_remainder=True)
example_in, example_out = next(iter(dataset))
print(example_in.shape, example_out.shape)


class Encoder(tf.keras.layers.Layer):
    def __init__(self, vocab_size, embedding_dim, enc_units):
        super(Encoder, self).__init__()
        self.enc_units = enc_units
        self.embedding = tf.keras.layers.Embedding(vocab_size, embedding_dim)
        self.gru = tf.keras.layers.GRU(
            enc_units, return_sequences=True, return_state=True, recurrent_initializer="glorot_uniform"
        )

    def call(self, x, hidden):
        x = self.embedding(x)
        output, state = self.gru(x, initial_state=hidden)
        return output, state

    def initialize_hidden_state(self, n):
        return tf.zeros((n, self.enc_units))


class BahdanauAttention(tf.keras.layers.Layer):
    def __init__(self, units):
        super(BahdanauAttention, self).__init__()
        self.W1 = tf.keras.layers.Dense(units)
        self.W2 = tf.keras.layers.Dense(units)
        self.V = tf.keras.layers.Dense(1)

    def call(self, query, values):
        query_with_time_axis = tf.expand_dims(query, 1)
        score = self.V(tf.nn.tanh(self.W1(query_with_time_axis) + self.W2(values)))
        attention_weights = tf.nn.softmax(score, axis=1)
        context_vector = tf.reduce_sum(attention_weights * values, axis=1)
        return context_vector, attention_weights


class Decoder(tf.keras.layers.Layer):
    def __init__(self, vocab_size, embedding_dim, dec_units):
        super(Decoder, self).__init__()
        self.embedding = tf.keras.layers.Embedding(vocab_size, embedding_dim)
        self.gru = tf.keras.layers.GRU(dec_units, return_sequences=True, return_state=True)
        self.fc = tf.keras.layers.Dense(vocab_size)
        self.attention = BahdanauAttention(dec_units)

    def call(self, x, hidden, enc_output):
        context_vector, attention_weights = self.attention(hidden, enc_output)
        x = self.embedding(x)
        x = tf.concat([tf.expand_dims(context_vector, 1), x], axis=-1)
        output, state = self.gru(x)
        output = tf.reshape(output, (-1, output.shape[2]))
        return self.fc(output), state, attention_weights


class Translator(tf.keras.Model):
    def __init__(self):
        super().__init__()
        self.encoder = Encoder(vocab_in, EMB, UNITS)
        self.decoder = Decoder(vocab_out, EMB, UNITS)
        self.loss_object = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="none")
        self.tracker = tf.keras.metrics.Mean(name="loss")

    @property
    def metrics(self):
        return [self.tracker]

    def loss_function(self, real, pred):
        mask = tf.math.logical_not(tf.math.equal(real, 0))
        loss_ = self.loss_object(real, pred)
        mask = tf.cast(mask, dtype=loss_.dtype)
        loss_ *= mask
        return tf.reduce_mean(loss_)

    def call(self, data):
        x, y = data
        enc, hidden = self.encoder(x, tf.zeros((tf.shape(x)[0], UNITS)))
        logits, _, weights = self.decoder(y[:, :1], hidden, enc)
        return logits

    @tf.function
    def train_step(self, data):
        inp, targ = data
        loss = 0
        with tf.GradientTape() as tape:
            enc_output, dec_hidden = self.encoder(inp, tf.zeros((tf.shape(inp)[0], UNITS)))
            dec_input = tf.expand_dims([targ_tok.word_index["<start>"]] * BATCH, 1)
            for t in range(1, targ.shape[1]):
                predictions, dec_hidden, _ = self.decoder(dec_input, dec_hidden, enc_output)
                loss += self.loss_function(targ[:, t], predictions)
                dec_input = tf.expand_dims(targ[:, t], 1)
        batch_loss = loss / int(targ.shape[1])
        variables = self.encoder.trainable_variables + self.decoder.trainable_variables
        gradients = tape.gradient(loss, variables)
        self.optimizer.apply_gradients(zip(gradients, variables))
        self.tracker.update_state(batch_loss)
        return {"loss": self.tracker.result()}


model = Translator()
model((example_in, example_out))
model.compile(optimizer=tf.keras.optimizers.Adam(0.01))
history = model.fit(dataset, epochs=4, verbose=0)
assert history.history["loss"][-1] < history.history["loss"][0]


def evaluate(sentence):
    ids = [inp_tok.word_index[i] for i in preprocess(sentence).split(" ")]
    ids = tf.keras.preprocessing.sequence.pad_sequences([ids], maxlen=inp.shape[1], padding="post")
    ids = tf.convert_to_tensor(ids)
    result = ""
    hidden = [tf.zeros((1, UNITS))]
    enc_out, enc_hidden = model.encoder(ids, hidden)
    dec_hidden = enc_hidden
    dec_input = tf.expand_dims([targ_tok.word_index["<start>"]], 0)
    attention = np.zeros((6, inp.shape[1]))
    for t in range(6):
        predictions, dec_hidden, weights = model.decoder(dec_input, dec_hidden, enc_out)
        attention[t] = tf.reshape(weights, (-1,)).numpy()
        predicted_id = tf.argmax(predictions[0]).numpy()
        result += targ_tok.index_word.get(predicted_id, "?") + " "
        if targ_tok.index_word.get(predicted_id) == "<end>":
            break
        dec_input = tf.expand_dims([predicted_id], 0)
    return result, attention


print(evaluate("i see ."))
