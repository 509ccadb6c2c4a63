"""A memory network that answers questions on small stories.

Shows three sequential encoders, their `dot`, `add` and `concatenate`, Permute, and how texts become
arrays of word indices. The stories are made: people move between places, and the question is where one
of them is.

    kcompile run examples/keras2/memory_network.py
"""

import numpy as np
from keras.layers import LSTM, Activation, Dense, Dropout, Embedding, Input, Permute, add, concatenate, dot
from keras.models import Model, Sequential
from keras.preprocessing.sequence import pad_sequences
from keras.preprocessing.text import Tokenizer

PEOPLE, PLACES = ["mary", "john"], ["kitchen", "garden", "office"]
rng = np.random.RandomState(0)


def story():
    where = {person: rng.choice(PLACES) for person in PEOPLE}
    lines = [f"{person} went to the {where[person]}" for person in rng.permutation(PEOPLE)]
    asked = rng.choice(PEOPLE)
    return " ".join(lines), f"where is {asked}", where[asked]


stories, questions, answers = zip(*(story() for _ in range(400)))
words = Tokenizer()
words.fit_on_texts([*stories, *questions])
vocabulary = len(words.word_index) + 1
facts = pad_sequences(words.texts_to_sequences(stories))
queries = pad_sequences(words.texts_to_sequences(questions))
labels = np.array([words.word_index[answer] for answer in answers])
story_length, query_length = facts.shape[1], queries.shape[1]

facts_input, query_input = Input((story_length,)), Input((query_length,))
encoder_m = Sequential([Embedding(vocabulary, 32, input_length=story_length), Dropout(0.1)])
encoder_c = Sequential([Embedding(vocabulary, query_length, input_length=story_length), Dropout(0.1)])
encoder_q = Sequential([Embedding(vocabulary, 32, input_length=query_length), Dropout(0.1)])
question = encoder_q(query_input)
match = Activation("softmax")(dot([encoder_m(facts_input), question], axes=(2, 2)))
response = Permute((2, 1))(add([match, encoder_c(facts_input)]))
answer = LSTM(32)(concatenate([response, question]))
answer = Activation("softmax")(Dense(vocabulary)(Dropout(0.1)(answer)))

model = Model([facts_input, query_input], answer)
model.compile(optimizer="rmsprop", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
model.fit([facts, queries], labels, batch_size=32, epochs=30, validation_split=0.1, verbose=2)
accuracy = model.evaluate([facts, queries], labels, verbose=0)[1]
print("accuracy", accuracy)
assert accuracy > 0.4  # of three places; more epochs learn whose it is
