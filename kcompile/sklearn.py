"""Networks as estimators of scikit-learn: `Classifier` and `Regressor`.

from kcompile.sklearn import Classifier
labels = Classifier(hidden=(32,), random_state=0).fit(x, y).predict(x_test)

They keep scikit-learn's contract (its `parametrize_with_checks` is in the tests; exceptions: `EXCEPTIONS`),
so that they work in pipelines, in searches of parameters, with joblib and pickle. Importing this module
imports scikit-learn (extra `sklearn`). Keras 2's own wrappers are in `kcompile.keras.wrappers.scikit_learn`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from threading import RLock
from typing import Any, Union

import numpy as np

from kcompile.keras import optimizers
from kcompile.keras.extras import library
from kcompile.keras.layers import Activation, Dense, Dropout, Flatten, Input
from kcompile.keras.models import Model
from kcompile.keras.settings import seeds_from
from kcompile.keras.utils import to_categorical
from kcompile_runtime.errors import InputError, describe

_base, _utils = library("sklearn.base", "sklearn"), library("sklearn.utils", "sklearn")
_multiclass = library("sklearn.utils.multiclass", "sklearn")
_validation = library("sklearn.utils.validation", "sklearn")
_weights = library("sklearn.utils.class_weight", "sklearn")
_Base: Any = _base.BaseEstimator
_OfClassifiers: Any = _base.ClassifierMixin
_OfRegressors: Any = _base.RegressorMixin

__all__ = ["EXCEPTIONS", "Classifier", "Regressor"]

Network = Callable[[tuple[int, ...], int], Model]

EXCEPTIONS = {
    "check_sample_weight_equivalence_on_dense_data": "a network is trained on batches of samples in a random "
    "order: a sample of weight 2 is in one batch, a sample that is there twice in two"
}
"""The checks of scikit-learn that these estimators do not pass, by name, and why not."""

_alone = RLock()  # numpy's global generator, which training draws from, is one for all threads


class _Estimator(_Base):  # type: ignore[misc]
    """What both estimators share; see `Classifier`."""

    history_: dict[str, list[float]]
    _numeric = False  # whether targets are numbers

    def __init__(
        self,
        hidden: Sequence[int] = (64,),
        *,
        activation: str = "relu",
        dropout: float = 0.0,
        network: Network | None = None,
        optimizer: Any = "adam",
        learning_rate: float | None = None,
        loss: Any = None,
        batch_size: int = 32,
        epochs: int = 100,
        validation_split: float = 0.0,
        callbacks: Sequence[Any] | None = None,
        warm_start: bool = False,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self.hidden = hidden
        self.activation = activation
        self.dropout = dropout
        self.network = network
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.loss = loss
        self.batch_size = batch_size
        self.epochs = epochs
        self.validation_split = validation_split
        self.callbacks = callbacks
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose

    def make_network(self, inputs: tuple[int, ...], outputs: int) -> Model:
        """The network, not trained. A subclass may override this instead of giving `network`.

        inputs: the shape of a sample. outputs: how many numbers the network predicts for one. Those of a
        classifier are probabilities: of all classes; of the second one alone where there are two (one of each
        is accepted too); of each label by itself where a sample has several. Returns a model with one input
        and one output of shape [n, outputs]; if it is compiled, its optimizer and loss are used, else those
        of the estimator.
        """
        if self.network is not None:
            return self.network(inputs, outputs)
        x = entry = Input(inputs, name="features")
        if len(inputs) > 1:
            x = Flatten(name="flat")(x)
        for number, units in enumerate(self.hidden):
            x = Dense(units, activation=self.activation, name=f"hidden_{number}")(x)
            if self.dropout:
                x = Dropout(self.dropout, name=f"dropout_{number}")(x)
        x = Dense(outputs, name="last")(x)
        return Model(entry, Activation(self._activation_for(outputs), name="outputs")(x), name="network")

    def _activation_for(self, outputs: int) -> str:
        return "linear"

    def _loss_for(self, outputs: int) -> str:
        raise NotImplementedError

    def _ready(self, inputs: tuple[int, ...], outputs: int) -> Model:
        """A new network, compiled. Raises InputError for one that does not predict `outputs` numbers."""
        network = self.make_network(inputs, outputs)
        accepted = [(None, size) for size in self._sizes(outputs)]
        if not isinstance(network, Model) or network.output_shape not in accepted:
            found = getattr(network, "output_shape", type(network).__name__)
            raise InputError(
                describe("network", f"a model with one output of shape {accepted[0]}", str(found))
            )
        if getattr(network, "optimizer", None) is None:
            loss = self._loss_for(network.output_shape[1]) if self.loss is None else self.loss
            network.compile(self._optimizer(), loss)
        return network

    def _sizes(self, outputs: int) -> tuple[int, ...]:
        return (outputs,)

    def _optimizer(self) -> Any:
        made = optimizers.get(copy.deepcopy(self.optimizer))
        if self.learning_rate is None:
            return made
        config = made.get_config()
        config["learning_rate" if "learning_rate" in config else "lr"] = self.learning_rate
        return type(made).from_config(config)

    def _train(
        self, x: np.ndarray, y: np.ndarray, weight: Any, outputs: int, again: bool, epochs: int
    ) -> None:
        """Train a new network, or, again, the one that is there."""
        if not again:
            given = self.random_state
            self._generator = None if given is None else _utils.check_random_state(given)
        with _alone, seeds_from(self._generator):
            if not again:
                self.network_, self.history_ = self._ready(x.shape[1:], outputs), {}
            found = self.network_.fit(
                x,
                self._as_loss_takes(y),
                sample_weight=weight,
                batch_size=self.batch_size,
                epochs=epochs,
                verbose=self.verbose,
                validation_split=self.validation_split,
                callbacks=list(self.callbacks or ()),
            )
        for name, values in found.history.items():
            self.history_.setdefault(name, []).extend(values)

    def _as_loss_takes(self, y: np.ndarray) -> np.ndarray:
        return y

    def _checked(self, x: Any, y: Any, weight: Any, reset: bool) -> tuple[np.ndarray, Any, Any]:
        x, y = _validation.validate_data(
            self,
            x,
            y,
            dtype=np.float32,
            allow_nd=True,
            multi_output=True,
            y_numeric=self._numeric,
            reset=reset,
        )
        if y.ndim == 2 and y.shape[1] == 1:
            y = _validation.column_or_1d(y, warn=True)
        if weight is not None:
            weight = _validation._check_sample_weight(weight, x, dtype=np.float32)
        return x, y, weight

    def _outputs(self, x: Any) -> np.ndarray:
        """What the network predicts, [n, outputs], float32."""
        _validation.check_is_fitted(self)
        x = _validation.validate_data(self, x, dtype=np.float32, allow_nd=True, reset=False)
        return np.asarray(self.network_.predict(x, batch_size=max(self.batch_size, 256)))

    def __sklearn_is_fitted__(self) -> bool:
        """Whether there is a network, as scikit-learn's pipelines ask."""
        return hasattr(self, "network_")

    def __sklearn_tags__(self) -> Any:
        """What scikit-learn asks of an estimator."""
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        tags.input_tags.three_d_array = True
        return tags


class Classifier(_OfClassifiers, _Estimator):  # type: ignore[misc]
    """A network that predicts classes.

    hidden: the sizes of the hidden layers. activation: of these, a name that Keras knows. dropout: the part
    of each hidden layer that is dropped in training. network: instead of hidden layers a function from the
    shape of a sample and the number of outputs to a model; see `make_network`. optimizer: a name, or an
    optimizer of kcompile, which is copied. learning_rate: in place of the optimizer's. loss: a name or a
    function that Keras knows, None for crossentropy. batch_size, epochs, validation_split, callbacks,
    verbose: as of Keras' `fit`. class_weight: a dict from classes to weights, or "balanced", weights inverse
    to how often a class is there. warm_start: `fit` goes on from the network of the last fit, with its
    optimizer. random_state: an integer, for the same bits in each fit; a RandomState, from which each fit
    draws a seed; None, numpy's global generator.

    After `fit`: classes_ (the numbers of labels, where a sample has several), n_features_in_,
    feature_names_in_ for data with names of columns, network_ (a model of `kcompile.keras`), history_ (lists
    by the names of losses).
    """

    def __init__(
        self,
        hidden: Sequence[int] = (64,),
        *,
        activation: str = "relu",
        dropout: float = 0.0,
        network: Network | None = None,
        optimizer: Any = "adam",
        learning_rate: float | None = None,
        loss: Any = None,
        batch_size: int = 32,
        epochs: int = 100,
        validation_split: float = 0.0,
        callbacks: Sequence[Any] | None = None,
        class_weight: Union[dict[Any, float], str, None] = None,
        warm_start: bool = False,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        super().__init__(
            hidden,
            activation=activation,
            dropout=dropout,
            network=network,
            optimizer=optimizer,
            learning_rate=learning_rate,
            loss=loss,
            batch_size=batch_size,
            epochs=epochs,
            validation_split=validation_split,
            callbacks=callbacks,
            warm_start=warm_start,
            random_state=random_state,
            verbose=verbose,
        )
        self.class_weight = class_weight

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Classifier:
        """Train. Returns itself.

        X: an array [n, features], or [n, ...] for a network of one's own; computed with in float32. y: labels
        [n], numbers or texts; or zeros and ones [n, labels], where a sample has several. sample_weight: [n].
        Raises InputError for arrays that do not fit together, for targets of several classes each (use
        sklearn.multioutput.MultiOutputClassifier), and for other classes than before with warm_start.
        """
        again = self.warm_start and hasattr(self, "network_")
        return self._fit(X, y, sample_weight, None, again, self.epochs)

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Classifier:
        """Train one epoch more, on these samples. Returns itself.

        classes: all that there will be, in the first call, where y has not all of them. X, y and
        sample_weight: as of `fit`. Raises InputError as `fit` does, and for class_weight="balanced".
        """
        if self.class_weight == "balanced":
            raise InputError(
                "Classifier.partial_fit: expected class_weight as a dict or None: what is balanced is not "
                'known before all samples are. Received: "balanced"'
            )
        return self._fit(X, y, sample_weight, classes, hasattr(self, "network_"), 1)

    def _fit(self, x: Any, y: Any, weight: Any, classes: Any, again: bool, epochs: int) -> Classifier:
        x, y, weight = self._checked(x, y, weight, reset=not again)
        _multiclass.check_classification_targets(y)
        kind = _multiclass.type_of_target(y, input_name="y")
        if kind not in ("binary", "multiclass", "multilabel-indicator"):
            raise InputError(describe("Classifier: y", "one class a sample, or zeros and ones", kind))
        several = kind == "multilabel-indicator"
        there = np.arange(y.shape[1]) if several else np.unique(y)
        known = there if classes is None else np.unique(classes)
        if not again:
            self.classes_, self.multilabel_ = known, several
        fits = np.array_equal(there, self.classes_) if several else np.isin(there, self.classes_).all()
        if self.multilabel_ != several or not fits or not np.isin(known, self.classes_).all():
            raise InputError(
                describe("Classifier: y", f"the classes {self.classes_}, known before", f"{there}")
            )
        if self.class_weight is not None:
            by_class = _weights.compute_sample_weight(self.class_weight, y)
            weight = np.asarray(by_class if weight is None else weight * by_class, np.float32)
        if not self.multilabel_:
            y = np.searchsorted(self.classes_, y)
        count = len(self.classes_)
        self._train(x, y, weight, count if self.multilabel_ or count > 2 else 1, again, epochs)
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """The probability of each class [n, classes], or of each label [n, labels], float32. X: of `fit`."""
        found = self._outputs(X)
        if self.multilabel_ or found.shape[1] > 1:
            return found
        return np.hstack([1 - found, found]) if len(self.classes_) > 1 else np.ones_like(found)

    def predict(self, X: Any) -> np.ndarray:
        """The most probable class [n], or zeros and ones [n, labels]. X: as in `fit`."""
        found = self.predict_proba(X)
        if self.multilabel_:
            return (found > 0.5).astype(np.int64)
        return np.asarray(self.classes_[found.argmax(axis=1)])

    def _activation_for(self, outputs: int) -> str:
        return "sigmoid" if self.multilabel_ or outputs == 1 else "softmax"

    def _loss_for(self, outputs: int) -> str:
        one = self.multilabel_ or outputs == 1
        return "binary_crossentropy" if one else "sparse_categorical_crossentropy"

    def _sizes(self, outputs: int) -> tuple[int, ...]:
        return (1, 2) if outputs == 1 and len(self.classes_) == 2 else (outputs,)

    def _as_loss_takes(self, y: np.ndarray) -> np.ndarray:
        """Numbers of classes, or, for losses that take these, vectors with a one."""
        loss, outputs = self.network_.loss, self.network_.output_shape[1]
        name = str(getattr(loss, "name", None) or getattr(loss, "__name__", None) or loss)
        numbers = self.multilabel_ or outputs == 1 or "sparse" in name
        return y if numbers else to_categorical(y, outputs)

    def __sklearn_tags__(self) -> Any:
        """What scikit-learn asks of an estimator."""
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


class Regressor(_OfRegressors, _Estimator):  # type: ignore[misc]
    """A network that predicts numbers.

    loss: None for the mean squared error. hidden, activation, dropout, network, optimizer, learning_rate,
    batch_size, epochs, validation_split, callbacks, warm_start, random_state, verbose, and attributes after
    `fit`: as of `Classifier`, but for classes_.
    """

    _numeric = True
    _targets: tuple[int, ...]

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Regressor:
        """Train. Returns itself.

        X: an array [n, features], or [n, ...] for a network of one's own. y: [n] or [n, targets]; both are
        computed with in float32. sample_weight: [n]. Raises InputError for arrays that do not fit together.
        """
        return self._fit(X, y, sample_weight, self.warm_start and hasattr(self, "network_"), self.epochs)

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Regressor:
        """Train one epoch more, on these samples. X, y, sample_weight and errors: as of `fit`. Returns
        itself."""
        return self._fit(X, y, sample_weight, hasattr(self, "network_"), 1)

    def _fit(self, x: Any, y: Any, weight: Any, again: bool, epochs: int) -> Regressor:
        x, y, weight = self._checked(x, y, weight, reset=not again)
        targets: tuple[int, ...] = y.shape[1:]
        if again and targets != self._targets:
            expected = f"shape {('n', *self._targets)} as in the first fit"
            raise InputError(describe("Regressor: y", expected, f"shape {y.shape}"))
        self._targets = targets
        y = np.asarray(y, np.float32)
        self._train(x, y, weight, targets[0] if targets else 1, again, epochs)
        return self

    def predict(self, X: Any) -> np.ndarray:
        """The targets, of the shape of those of `fit`; float64, as of all regressors. X: as in `fit`."""
        return self._outputs(X).reshape(-1, *self._targets).astype(np.float64)

    def _loss_for(self, outputs: int) -> str:
        return "mean_squared_error"
