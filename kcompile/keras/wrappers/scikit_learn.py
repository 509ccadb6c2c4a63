"""Models as estimators of scikit-learn, which searches parameters and crosses validation with them.

Enters: a function that makes a compiled model, and parameters: its arguments, and those of fit, predict and
evaluate. Leaves: estimators. scikit-learn (extra `sklearn`) is loaded when it asks for its tags.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from types import FunctionType, MethodType
from typing import Any

import numpy as np

from kcompile.keras.extras import library
from kcompile.keras.models import Sequential
from kcompile.keras.tensors import as_list
from kcompile.keras.utils import to_categorical
from kcompile_runtime.errors import InputError, ModelError, describe

__all__ = ["BaseWrapper", "KerasClassifier", "KerasRegressor"]

Method = Callable[..., Any]


class BaseWrapper:
    """What both kinds of estimators share.

    build_fn: a function or an object with __call__ that makes a compiled model; None in a subclass that has
    __call__. sk_params: arguments of build_fn and of the methods of Sequential, which those of fit, predict,
    predict_proba and score override. Raises InputError for others.
    """

    _estimator_type: str

    def __init__(self, build_fn: Any = None, **sk_params: Any) -> None:
        self.build_fn = build_fn
        self.sk_params = sk_params
        self.check_params(sk_params)

    def check_params(self, params: Mapping[str, Any]) -> None:
        """Raises InputError for a parameter that neither the function nor a method of Sequential takes."""
        methods = (Sequential.fit, Sequential.predict, Sequential.predict_classes, Sequential.evaluate)
        for name in params:
            if not any(_takes(fn, name) for fn in (*methods, self._maker)):
                raise InputError(
                    describe(type(self).__name__, "arguments of the model's methods", repr(name))
                )

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The parameters, and the function, by name."""
        return {**self.sk_params, "build_fn": self.build_fn}

    def set_params(self, **params: Any) -> BaseWrapper:
        """Change parameters."""
        self.build_fn = params.pop("build_fn", self.build_fn)
        self.check_params(params)
        self.sk_params.update(params)
        return self

    def filter_sk_params(self, fn: Method, override: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The parameters that a function takes, and others that override them."""
        given = {name: value for name, value in self.sk_params.items() if _takes(fn, name)}
        return {**given, **(override or {})}

    def fit(self, x: Any, y: Any, **kwargs: Any) -> Any:
        """Make a model and train it. Gives the History."""
        make = self._called if self.build_fn is None else self.build_fn
        self.model = make(**self.filter_sk_params(self._maker))
        return self.model.fit(
            x, self._targets(np.asarray(y)), **self.filter_sk_params(Sequential.fit, kwargs)
        )

    @property
    def _called(self) -> Method:
        """The subclass as the function that makes the model."""
        if not callable(self):
            raise ModelError(f"{type(self).__name__}: expected build_fn, or a subclass with __call__")
        return self

    @property
    def _maker(self) -> Method:
        """The function whose arguments are parameters."""
        if self.build_fn is None:
            return type(self._called).__call__
        plain = isinstance(self.build_fn, (FunctionType, MethodType))
        made: Method = self.build_fn if plain else self.build_fn.__call__
        return made

    def _targets(self, y: np.ndarray) -> np.ndarray:
        """Targets as the loss takes them: one-hot where numbers of classes meet categorical_crossentropy."""
        loss = self.model.loss
        name = getattr(loss, "__name__", loss)
        return to_categorical(y) if name == "categorical_crossentropy" and y.ndim != 2 else y

    def __sklearn_is_fitted__(self) -> bool:
        """Whether there is a model, as scikit-learn's pipelines ask."""
        return hasattr(self, "model")

    def __sklearn_tags__(self) -> Any:
        """What scikit-learn from 1.6 on asks of an estimator."""
        utils, kind = library("sklearn.utils", "sklearn"), self._estimator_type
        own = {f"{kind}_tags": getattr(utils, f"{kind.capitalize()}Tags")()}
        return utils.Tags(estimator_type=kind, target_tags=utils.TargetTags(required=True), **own)


class KerasClassifier(BaseWrapper):
    """A model whose outputs are classes: one a class, or a single probability."""

    _estimator_type = "classifier"

    def fit(self, x: Any, y: Any, sample_weight: Any = None, **kwargs: Any) -> Any:
        """Train a new model. y: labels of any kind [n], or zeros and ones [n, classes]."""
        y = np.array(y)
        if y.ndim == 2 and y.shape[1] > 1:
            self.classes_ = np.arange(y.shape[1])
        elif y.ndim == 1 or (y.ndim == 2 and y.shape[1] == 1):
            self.classes_ = np.unique(y)
            y = np.searchsorted(self.classes_, y)
        else:
            raise InputError(describe("KerasClassifier: y", "labels [n] or [n, classes]", f"shape {y.shape}"))
        self.n_classes_ = len(self.classes_)
        if sample_weight is not None:
            kwargs["sample_weight"] = sample_weight
        return super().fit(x, y, **kwargs)

    def predict(self, x: Any, **kwargs: Any) -> np.ndarray:
        """The labels that are most probable."""
        found = self.model.predict(x, **self.filter_sk_params(Sequential.predict_classes, kwargs))
        classes = found.argmax(-1) if found.shape[-1] > 1 else (found > 0.5).astype("int32")
        return np.asarray(self.classes_[classes])

    def predict_proba(self, x: Any, **kwargs: Any) -> np.ndarray:
        """The probability of each class, [n, classes]; of two classes also for a model with one output."""
        found = self.model.predict(x, **self.filter_sk_params(Sequential.predict_proba, kwargs))
        return np.hstack([1 - found, found]) if found.shape[1] == 1 else np.asarray(found)

    def score(self, x: Any, y: Any, **kwargs: Any) -> float:
        """The accuracy. Raises ModelError for a model that was compiled without it."""
        y = np.searchsorted(self.classes_, y)
        options = self.filter_sk_params(Sequential.evaluate, kwargs)
        values = as_list(self.model.evaluate(x, self._targets(y), **options))
        for name, value in zip(self.model.metrics_names, values):
            if name in ("acc", "accuracy"):
                return float(value)
        raise ModelError(
            "KerasClassifier: score: expected a model that was compiled with "
            'metrics=["accuracy"]. Received: one without'
        )


class KerasRegressor(BaseWrapper):
    """A model whose outputs are numbers."""

    _estimator_type = "regressor"

    def predict(self, x: Any, **kwargs: Any) -> np.ndarray:
        """The outputs, without axes of size 1."""
        return np.squeeze(self.model.predict(x, **self.filter_sk_params(Sequential.predict, kwargs)))

    def score(self, x: Any, y: Any, **kwargs: Any) -> float:
        """The loss with its sign changed: larger is better."""
        loss = self.model.evaluate(x, y, **self.filter_sk_params(Sequential.evaluate, kwargs))
        return -float(as_list(loss)[0])


def _takes(fn: Method, name: str) -> bool:
    """Whether a function takes an argument by this name; fit also takes Keras 1's name of epochs."""
    found = inspect.signature(fn).parameters.get(name)
    by_name = found is not None and found.kind in (found.POSITIONAL_OR_KEYWORD, found.KEYWORD_ONLY)
    return by_name or (name == "nb_epoch" and fn is Sequential.fit)
