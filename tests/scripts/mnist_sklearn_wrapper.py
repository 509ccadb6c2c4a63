"""scikit-learn searches the best number of units of a model."""

import numpy as np
from keras.layers import Activation, Dense, Dropout
from keras.models import Sequential
from keras.wrappers.scikit_learn import KerasClassifier
from sklearn.model_selection import GridSearchCV


def make_model(dense_layer_sizes, dropout):
    model = Sequential()
    for i, units in enumerate(dense_layer_sizes):
        model.add(Dense(units, **({"input_shape": (10,)} if i == 0 else {})))
        model.add(Activation("relu"))
    model.add(Dropout(dropout))
    model.add(Dense(3))
    model.add(Activation("softmax"))
    model.compile(loss="categorical_crossentropy", optimizer="adadelta", metrics=["accuracy"])
    return model


labels = np.random.RandomState(0).randint(0, 3, 90)
x = np.random.RandomState(1).rand(3, 10)[labels] + 0.1 * np.random.RandomState(2).rand(90, 10)
classifier = KerasClassifier(make_model, batch_size=16, verbose=0)
grid = {"dense_layer_sizes": [[16], [16, 16]], "epochs": [5], "dropout": [0.1]}
validator = GridSearchCV(classifier, cv=3, param_grid=grid, scoring="neg_log_loss", n_jobs=1)
validator.fit(x, labels)
print("The parameters of the best model are:", validator.best_params_)
best_model = validator.best_estimator_.model
loss, accuracy = best_model.evaluate(x, np.eye(3)[labels], verbose=0)
assert best_model.metrics_names == ["loss", "acc"] and accuracy > 0.5
