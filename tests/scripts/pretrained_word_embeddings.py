"""Words come with vectors that are known before: an Embedding that is given them and does not train."""

import numpy as np
from keras.initializers import Constant
from keras.layers import Conv1D, Dense, Embedding, GlobalMaxPooling1D, Input, MaxPooling1D
from keras.models import Model
from keras.preprocessing.sequence import pad_sequences
from keras.preprocessing.text import Tokenizer
from keras.utils import to_categorical

rng = np.random.RandomState(0)
topics = [["ball", "goal", "team", "game"], ["rocket", "orbit", "moon", "star"]]
labels = rng.randint(0, 2, 120)
texts = [" ".join(rng.choice([*topics[label], "the", "a"], 30)) for label in labels]
embeddings_index = {word: rng.rand(16) for words in topics for word in words}

tokenizer = Tokenizer(num_words=20)
tokenizer.fit_on_texts(texts)
data = pad_sequences(tokenizer.texts_to_sequences(texts), maxlen=40)
num_words = min(20, len(tokenizer.word_index) + 1)
embedding_matrix = np.zeros((num_words, 16))
for word, i in tokenizer.word_index.items():
    if word in embeddings_index:
        embedding_matrix[i] = embeddings_index[word]
embedding_layer = Embedding(
    num_words, 16, embeddings_initializer=Constant(embedding_matrix), input_length=40, trainable=False
)
sequence_input = Input(shape=(40,), dtype="int32")
x = Conv1D(16, 5, activation="relu")(embedding_layer(sequence_input))
x = MaxPooling1D(5)(x)
x = GlobalMaxPooling1D()(Conv1D(16, 5, activation="relu")(x))
model = Model(sequence_input, Dense(2, activation="softmax")(x))
model.compile(loss="categorical_crossentropy", optimizer="rmsprop", metrics=["acc"])
model.fit(data, to_categorical(labels), batch_size=12, epochs=6, validation_split=0.2, verbose=0)
assert np.allclose(embedding_layer.get_weights()[0], embedding_matrix)
assert model.evaluate(data, to_categorical(labels), verbose=0)[1] > 0.9
