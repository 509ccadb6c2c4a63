"""A small model for each question about training and optimizers."""

from __future__ import annotations

from typing import Any

import numpy as np
from asking import FAULTS, Kit, case, number

# ---------------------------------------------------------------- training


@case({False: [6.0], True: [2.0]})
def activity_by_sample(kit: Kit) -> Any:
    """The penalty on three samples of two ones."""
    x = kit.layers.Input((2,))
    y = kit.layers.Dense(
        2, kernel_initializer="identity", use_bias=False, activity_regularizer=kit.keras.regularizers.l1(1.0)
    )(x)
    ones = np.ones((3, 2), np.float32)
    return [number(kit.compiled(kit.model(x, y)).test_on_batch(ones, ones))]


def linear(kit: Kit, shape: tuple[int, ...] = (1,), **options: Any) -> Any:
    """A model whose output is its input, if not trained."""
    x = kit.layers.Input(shape)
    return kit.compiled(kit.model(x, kit.one(name="out")(x)), **options)


@case({"nonzero weights": [4.0], "weights": [2.0]})
def loss_divides_by(kit: Kit) -> Any:
    model, x = linear(kit), np.full((2, 1), 2.0, np.float32)
    return [number(model.test_on_batch(x, x * 0, sample_weight=np.array([1.0, 0.0])))]


@case({"weighted": [6.0, 7.0], "as given": [2.0, 7.0]}, live=False)
def sum_of_one_loss(kit: Kit) -> Any:
    """A loss of 2 for a batch of three samples, without weights and with some that add up to 3.5."""

    class Mean(kit.keras.losses.Loss):  # type: ignore[name-defined, misc]
        def call(self, y_true: Any, y_pred: Any) -> Any:
            return (kit.keras.ops if hasattr(kit.keras, "ops") else kit.keras.backend).mean(y_pred - y_true)

    model, x = linear(kit, loss=Mean(reduction="sum")), np.full((3, 1), 2.0, np.float32)
    weights = np.array([0.5, 1.0, 2.0])
    return [
        number(model.test_on_batch(x, x * 0)),
        number(model.test_on_batch(x, x * 0, sample_weight=weights)),
    ]


@case({"clipped first": [np.log(3.0)], "divided first": [np.log(4.0)]})
def sparse_probabilities(kit: Kit) -> Any:
    """Of the scores 1, 2 and 1, the crossentropy of the first."""
    x = kit.layers.Input((3,))
    model = kit.model(x, kit.layers.Activation("linear")(x))
    model = kit.compiled(model, loss="sparse_categorical_crossentropy")
    return [number(model.test_on_batch(np.array([[1.0, 2.0, 1.0]], np.float32), np.array([[0]])))]


@case({False: [16.118095, 1.0, 16.030239], True: [20.0, -1.0, 10.346574]})
def logits_behind(kit: Kit) -> Any:
    """The crossentropy of the probability sigmoid(-20), and the weight 1 after a step at the rate 0.1; and a
    binary crossentropy of softmax([-20, 0])."""
    x = kit.layers.Input((1,))
    layer = kit.one(activation="sigmoid")
    model = kit.compiled(kit.model(x, layer(x)), kit.make("SGD", 0.1), "binary_crossentropy")
    found = [number(model.train_on_batch(ONES * -20, ONES)), float(model.get_weights()[0][0, 0])]
    x = kit.layers.Input((2,))
    model = kit.model(x, kit.layers.Activation("softmax")(x))
    model = kit.compiled(model, loss="binary_crossentropy")
    labels = np.array([[1.0, 0.0]], np.float32)
    return [*found, number(model.test_on_batch(np.array([[-20.0, 0.0]], np.float32), labels))]


@case({"of p": [16.118095], "of p + epsilon": [15.424948]})
def binary_logarithms(kit: Kit) -> Any:
    """The crossentropy of the probability 0, which is 1e-7 and maybe 1e-7 more."""
    model = linear(kit, loss="binary_crossentropy")
    return [number(model.test_on_batch(ONES * 0, ONES))]


@case({"as given": [1.0], "0 is -1": [2.0]})
def hinge_labels(kit: Kit) -> Any:
    """max(1 - 0 * 1, 0), or max(1 + 1 * 1, 0)."""
    return [number(linear(kit, loss="hinge").test_on_batch(ONES, ONES * 0))]


@case({"nothing": [2.0], "factor": [10.0]})
def class_weight_beside(kit: Kit) -> Any:
    """The loss, 1, of a sample that weighs 2, of a class that weighs 5."""
    model = linear(kit, optimizer=kit.make("SGD", 0.0))
    x, y = np.zeros((1, 1), np.float32), np.ones((1, 1), np.float32)
    weights = {0: 1.0, 1: 5.0}
    return [number(model.train_on_batch(x, y, sample_weight=np.array([2.0]), class_weight=weights))]


@case({"as losses": [6.5, 6.5], "by weights": [3.25, 3.25]})
def weighted_metrics(kit: Kit) -> Any:
    """The distances 1 and 4 of samples that weigh 1 and 3, over the number of weights or over their sum."""
    model, x = linear(kit, weighted_metrics=["mae"]), np.array([[1.0], [4.0]], np.float32)
    weights = np.array([1.0, 3.0])
    tested = model.evaluate(x, x * 0, sample_weight=weights, batch_size=2, verbose=0)
    return [float(tested[1]), float(model.test_on_batch(x, x * 0, sample_weight=weights)[1])]


@case({"for samples": [2.0], "once": [2.5]}, live=False)
def batch_values(kit: Kit) -> Any:
    """The mean of a metric that is 1 for a batch of two samples and 4 for one of one."""
    from_ops = getattr(kit.keras, "ops", None) or kit.keras.backend

    def largest(y_true: Any, y_pred: Any) -> Any:
        return from_ops.max(from_ops.abs(y_pred - y_true))

    x = np.array([[1.0], [1.0], [4.0]], np.float32)
    tested = linear(kit, metrics=[largest]).evaluate(x, x * 0, batch_size=2, verbose=0)
    return [float(tested[1])]


@case({"sums": [1.0, 3.0], "means": [0.5, 1.5], "told as means": [1.0, 1.5]}, live=False)
def added_losses(kit: Kit) -> Any:
    """How far a step at the rate 1 moves a weight that is added for each of two samples, of 1 and 2, over 3;
    and the loss that is told before."""

    class Adding(kit.keras.layers.Layer):  # type: ignore[name-defined, misc]
        def build(self, shape: Any) -> None:
            self.w = self.add_weight(name="w", shape=(1,), initializer="ones", trainable=True)
            self.built = True

        def call(self, x: Any) -> Any:
            self.add_loss(x * self.w)
            return x

        def compute_output_shape(self, shape: Any) -> Any:
            return shape

    x = np.array([[1.0], [2.0]], np.float32)
    given = kit.keras.layers.Input((1,))
    model = kit.keras.models.Model(given, Adding()(given))
    model.compile(kit.keras.optimizers.SGD(1.0), None)
    told = model.train_on_batch(x, None)
    return [(1.0 - float(model.get_weights()[0][0])) / 3, float(np.sum(told))]


@case({"axis 1": [1.5], "the classes": [1.0], "the last axis": [0.75]}, live=False)
def smoothed_over(kit: Kit) -> Any:
    """Half of a label spread over 2 classes on axis 1, each of probability 1/2, beside a last axis of 4, in
    units of log(2): 1/2 + 2 / 2 / 2, or 1/2 + 2 / 4 / 2."""
    if kit.old:
        return [1.5]  # it has no such axis: 4 classes on the last one, of which 2 are counted
    y = np.zeros((1, 2, 4), np.float32)
    y[:, 0] = 1.0
    loss = kit.keras.losses.CategoricalCrossentropy(label_smoothing=0.5, axis=1)
    return [float(loss(y, np.full_like(y, 0.5))) / float(np.log(2))]


@case({"left out": [0.5], "zero": [0.25]}, live=False)
def ignored_class(kit: Kit) -> Any:
    """A crossentropy of 0.5 and one of the class that is ignored."""
    if kit.old:
        return [0.5]  # it has no such option
    metric = kit.keras.metrics.SparseCategoricalCrossentropy(ignore_class=1)
    share = float(np.exp(-0.5))
    metric.update_state(np.array([0, 1]), np.array([[share, 1 - share]] * 2, np.float32))
    return [float(metric.result())]


@case({"floatx": [0.75], "int32": [1.0]}, live=False)
def overlaps_counted(kit: Kit) -> Any:
    """A sample of class 0 that weighs 1.5 and is found, and one that weighs 0.5 and is not."""
    if kit.old:
        return [0.75]  # only MeanIoU of 2.3 has weights, and sees floats
    metric = kit.keras.metrics.IoU(2, [0])
    metric.update_state(np.array([0, 0]), np.array([0, 1]), sample_weight=np.array([1.5, 0.5]))
    return [float(metric.result())]


@case({False: "raises", True: [4.0]})
def step_weights_by_shape(kit: Kit) -> Any:
    model, x = linear(kit, (2, 1)), np.array([[[2.0], [4.0]]], np.float32)
    try:
        return [number(model.test_on_batch(x, x * 0, sample_weight=np.array([[2.0, 0.0]])))]
    except Exception:
        return "raises"


@case({"as outputs": 2, "as given": 1}, live=False)
def metrics_see_labels(kit: Kit) -> Any:
    """The axes of labels [n] in a metric of one's own, beside outputs [n, 1]."""
    ranks: list[int] = []

    def metric(y_true: Any, y_pred: Any) -> Any:
        ranks.append(len(y_true.shape))
        return y_pred[:, 0]

    model, x = linear(kit, metrics=[metric]), np.array([[1.0], [4.0]], np.float32)
    model.evaluate(x, x[:, 0], verbose=0)
    return ranks[-1]


@case({False: [3.5, 2.0], True: [2.0, 2.0]})
def mask_weighs_metrics(kit: Kit) -> Any:
    """The mean distance of a sample of four steps, and of one of which one step is there; in two batches,
    and in one."""
    x = kit.layers.Input((4, 1))
    model = kit.compiled(kit.model(x, kit.one()(kit.layers.Masking()(x))), metrics=["mae"])
    values = np.array([[[1.0], [1.0], [1.0], [1.0]], [[6.0], [0.0], [0.0], [0.0]]], np.float32)
    return [float(model.evaluate(values, values * 0, batch_size=batch, verbose=0)[1]) for batch in (1, 2)]


WITHOUT_LOSS = {
    "refused": ["compile"],
    "not tested": ["evaluate"],
    "not trained": [0.0, 1.0, "fit"],
    "zero": [0.0, 1.0, 0.0],
}


@case(WITHOUT_LOSS)
def without_loss(kit: Kit) -> Any:
    """What a test gives, and then a training, where they are not refused."""
    x = np.ones((2, 1), np.float32)
    try:
        model = linear(kit, loss=None, metrics=["mae"])
    except ValueError:
        return ["compile"]
    try:
        found = [float(value) for value in model.evaluate(x, x * 0, verbose=0)]
    except ValueError:
        return ["evaluate"]
    try:
        return [*found, number(model.train_on_batch(x, x * 0))]
    except Exception:
        return [*found, "fit"]


@case({"left out": [1.0], "zeros": [0.95]})
def missing_gradients(kit: Kit) -> Any:
    """What decay makes of a weight of 1 whose output has no loss."""
    x = kit.layers.Input((1,))
    outputs = [kit.layers.Dense(1, use_bias=False, kernel_initializer="ones", name=n)(x) for n in "ab"]
    model = kit.model(x, outputs)
    model.compile(kit.make("SGD", 0.1, weight_decay=0.5), {"a": "mse", "b": None})
    ones = np.ones((1, 1), np.float32)
    model.train_on_batch(ones, {"a": ones, "b": ones})
    return [number(model.get_layer("b").get_weights()[0])]


@case({False: [0.0], True: [2.0]}, live=False)
def mask_weighs_states(kit: Kit) -> Any:
    """In how many of two batches a metric of the script's own was given weights."""

    class Given(kit.keras.metrics.Metric):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(name="given")
            self.given = self.add_weight(name="given", shape=(), initializer="zeros")

        def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
            return [self.given.assign_add(0.0 if sample_weight is None else 1.0)]

        def result(self) -> Any:
            return self.given + 0.0

    x = kit.layers.Input((4, 1))
    model = kit.compiled(kit.model(x, kit.one()(kit.layers.Masking()(x))), metrics=[Given()])
    values = np.ones((2, 4, 1), np.float32)
    return [float(model.evaluate(values, values * 0, batch_size=1, verbose=0)[1])]


@case({"loss": [0.75], "shapes": [0.5]})
def accuracy_by(kit: Kit) -> Any:
    """Of binary labels of two classes: elements that agree, or samples."""
    x = kit.layers.Input((2,))
    model = kit.model(x, kit.layers.Activation("linear")(x))
    model = kit.compiled(model, loss="binary_crossentropy", metrics=["accuracy"])
    scores = np.array([[0.9, 0.8], [0.3, 0.2]], np.float32)
    labels = np.array([[1.0, 1.0], [0.0, 1.0]], np.float32)
    return [float(model.test_on_batch(scores, labels)[1])]


@case({"rounded": [0.75], "threshold": [1.0]})
def binary_accuracy(kit: Kit) -> Any:
    """Of 1.7, which is 2 when rounded, and of 1.2, 0.2 and -0.2."""
    x = np.array([[1.7], [1.2], [0.2], [-0.2]], np.float32)
    model = linear(kit, metrics=["binary_accuracy"])
    return [float(model.test_on_batch(x, np.array([[1.0], [1.0], [0.0], [0.0]]))[1])]


@case({"last axis": [0.5], "elements": [0.0, 1.0]}, live=False)
def binary_accuracy_of(kit: Kit) -> Any:
    """Of one that agrees and one that does not."""
    if kit.old:
        return [0.5]  # its functions are of graphs
    labels, scores = np.array([[1.0, 1.0]], np.float32), np.array([[0.2, 0.8]], np.float32)
    return np.ravel(kit.keras.metrics.binary_accuracy(labels, scores)).tolist()


@case({"elements": [3.0], "samples": [2.5]}, live=False)
def means_count(kit: Kit) -> Any:
    """Of a sample of 1 and one of two 4s."""
    if kit.old:
        return [3.0]  # 2.3.1 alone has it, whose metrics are tensors of a session
    metric = kit.keras.metrics.Mean()
    metric.update_state(np.array([[1.0]]))
    metric.update_state(np.array([[4.0, 4.0]]))
    return [float(metric.result())]


@case({"after": [4.0], "before": [2.5]}, live=False)
def batch_metrics_reset(kit: Kit) -> Any:
    """The loss of a second batch that does not begin anew, after 1."""
    if kit.old or hasattr(kit.keras, "ops"):
        return [4.0]  # 2.2 and 3 have no such argument
    model = linear(kit)
    model.test_on_batch(ONES, ONES * 0)
    return [number(model.test_on_batch(ONES * 2, ONES * 0, reset_metrics=False))]


@case({"minus": [-0.6], "plus": [0.6]})
def cosine_proximity(kit: Kit) -> Any:
    x = kit.layers.Input((2,))
    model = kit.model(x, kit.layers.Activation("linear")(x))
    model = kit.compiled(model, metrics=["cosine_proximity"])
    return [float(model.test_on_batch(np.array([[3.0, 4.0]]), np.array([[1.0, 0.0]]))[1])]


def reported(model: Any, x: Any, y: Any, **options: Any) -> list[str]:
    """Names in the history of an epoch."""
    return list(model.fit(x, y, epochs=1, batch_size=4, verbose=0, **options).history)


ONES = np.ones((4, 1), np.float32)


@case(
    {
        "given": ["accuracy", "mae", "MeanSquaredError"],
        "own": ["acc", "mean_absolute_error"],
        "given function": ["accuracy", "mae", "mean_squared_error"],
    }
)
def metric_names(kit: Kit) -> Any:
    found = [
        reported(linear(kit, metrics=[metric]), ONES, ONES)
        for metric in ("accuracy", "mae", "MeanSquaredError")
        if not (kit.old and metric[0] == "M")
    ]
    return [name for names in found for name in names if name != "loss"]


@case({"always": ["loss", "weighted_mean_absolute_error"], "if taken": ["loss", "mae"]})
def weighted_prefix(kit: Kit) -> Any:
    return sorted(reported(linear(kit, weighted_metrics=["mae"]), ONES, ONES, sample_weight=np.ones(4)))


def forked(kit: Kit, **options: Any) -> Any:
    """A model of two outputs, "b" and "a"; the second has no weights."""
    x = kit.layers.Input((1,))
    y = kit.one(name="b")(x)
    return kit.compiled(kit.model(x, [y, kit.layers.Activation("linear", name="a")(y)]), **options)


@case({"by output": [1, 3], "by name": [3, 1]})
def metrics_order(kit: Kit) -> Any:
    """The mean distances of "b" and "a", as they come."""
    model = forked(kit, loss=["mse", "mse"], metrics={"b": ["mae"], "a": ["mae"]})
    return [float(v) for v in model.evaluate(ONES, [ONES * 2, ONES * 4], verbose=0)[3:]]


@case({False: ["a_m", "b_m"], True: ["a_m", "b_m"]})
def metric_objects_renamed(kit: Kit) -> Any:
    """Names of metric objects, of a model that was trained before."""
    x = kit.layers.Input((1,))
    y = kit.one(name="b")(x)
    model = kit.model(x, [y, kit.layers.Activation("linear", name="a")(y)])
    metrics = [[kit.keras.metrics.MeanSquaredError(name="m")], [kit.keras.metrics.MeanSquaredError(name="m")]]
    options = {"run_eagerly": True} if kit.real and not kit.old else {}
    model.compile("sgd", ["mse", "mse"], metrics=metrics, **options)
    if kit.real:
        reported(model, ONES, [ONES, ONES])
    return sorted(set(reported(kit.ready(model), ONES, [ONES, ONES])) - {"loss", "a_loss", "b_loss"})


@case({"each for all": 4, "by output": 2})
def metrics_list(kit: Kit) -> Any:
    """How many metrics a list of two is."""
    names = reported(forked(kit, loss=["mse", "mse"], metrics=["mae", "mse"]), ONES, [ONES, ONES])
    return len(set(names) - {"loss", "a_loss", "b_loss"})


@case({True: ["b_loss", "loss"], False: ["loss"]})
def lone_loss_reported(kit: Kit) -> Any:
    return sorted(
        reported(
            forked(kit, loss={"b": "mse"} if kit.old else ["mse", None]),
            ONES,
            [ONES] if kit.old else [ONES, ONES],
        )
    )


@case({"left out": 0, "computed": 1})
def metrics_without_loss(kit: Kit) -> Any:
    model = forked(kit, loss={"b": "mse"} if kit.old else ["mse", None], metrics={"a": ["mae"]})
    """How many metrics of an output without a loss there are."""
    names = reported(model, ONES, [ONES] if kit.old else [ONES, ONES])
    return len([name for name in names if name.startswith("a_")])


@case({"anew": ["loss"], "keeps what is None": ["binary_accuracy", "loss"]})
def compiled_again(kit: Kit) -> Any:
    """What is reported after a second compile, with a loss alone."""
    model = linear(kit, metrics=["binary_accuracy"])
    model.compile("sgd", "mse")
    return sorted(reported(model, ONES, ONES))


@case({"first": ["val_loss", "loss"], "last": ["loss", "val_loss"]})
def validation_logs(kit: Kit) -> Any:
    return reported(linear(kit), ONES, ONES, validation_data=(ONES, ONES))


@case({"refused": ["raises", 4.0], "from 0 on": ["raises", "raises"], "weigh 1": [2.5, 4.0]})
def classes_without_weight(kit: Kit) -> Any:
    """The loss of classes 1 and 2, of which only 1, or both, have a weight, 4."""
    found: list[Any] = []
    labels = np.array([[1.0], [2.0]])
    for weights in ({1: 4.0}, {1: 4.0, 2: 4.0}):
        model = linear(kit, optimizer=kit.make("SGD", 0.0))
        try:
            found.append(float(model.train_on_batch(labels - 1, labels, class_weight=weights)))
        except Exception:
            found.append("raises")
    return found


# ---------------------------------------------------------------- optimizers


def walked(kit: Kit, optimizer: Any, steps: int = 3, scale: float = 1.0) -> list[float]:
    """The weights of two layers after some steps."""
    model = kit.compiled(kit.keras.models.Sequential([kit.one(1, input_shape=(1,)), kit.one(1)]), optimizer)
    for _ in range(steps):
        model.train_on_batch(ONES * scale, ONES * 0)
    return np.ravel(model.get_weights()).tolist()


@case({True: [0.72081, 0.72081], False: "raises"}, optimizer=True)
def old_optimizer_options(kit: Kit) -> Any:
    try:
        return walked(kit, kit.make("SGD", lr=0.1, decay=1.0))
    except Exception:
        return "raises"


@case({"together": [0.893934, 0.893934], "each": [0.85, 0.85]}, optimizer=True)
def clipnorm(kit: Kit) -> Any:
    return walked(kit, kit.make("SGD", 0.1, clipnorm=0.5))


def table_of_ones(kit: Kit, optimizer: Any, places: int) -> Any:
    """A model whose outputs are the rows of a table that a sample names."""
    x = kit.layers.Input((places,))
    table = kit.layers.Embedding(3, 1, embeddings_initializer="ones")
    return kit.compiled(kit.model(x, kit.layers.Flatten()(table(x))), optimizer)


@case({"summed": [0.95, 0.95], "each": [0.929289, 0.9], "each by value": [0.95, 0.9]}, optimizer=True)
def limited_rows(kit: Kit) -> Any:
    """A row that is named twice, with the gradient 1 each time: its move at the rate 0.1."""
    found = []
    for limit in ({"clipnorm": 0.5}, {"clipvalue": 0.5}):
        model = table_of_ones(kit, kit.make("SGD", 0.1, **limit), 2)
        model.train_on_batch(np.ones((1, 2), np.float32), np.zeros((1, 2), np.float32))
        found.append(float(model.get_weights()[0][1, 0]))
    return found


@case({"move": [0.7], "stay": [0.8]}, optimizer=True)
def rows_left_out(kit: Kit) -> Any:
    """A row that the first of two batches names."""
    model = table_of_ones(kit, kit.make("SGD", 0.1, momentum=0.5), 1)
    for row in (1.0, 2.0):
        model.train_on_batch(np.full((1, 1), row, np.float32), np.zeros((1, 1), np.float32))
    return [float(model.get_weights()[0][1, 0])]


@case(
    {"outside": [0.665463, 0.665463, 0.829593, 0.829593], "inside": [0.621783, 0.621783, 0.805701, 0.805701]},
    optimizer=True,
)
def epsilon(kit: Kit) -> Any:
    start = {} if kit.old else {"initial_accumulator_value": 0.0}  # of Keras 2 always
    made = [kit.make("RMSprop", 0.1, epsilon=0.5), kit.make("Adagrad", 0.1, epsilon=0.5, **start)]
    return [weight for optimizer in made for weight in walked(kit, optimizer)]


def lacks_averages(kit: Kit) -> bool:
    """Whether optimizers know no weight_decay and no use_ema: what they do then is ours alone."""
    return kit.old or (kit.real and kit.optimizers is not None)


@case({"before": [0.770519, 0.770519], "after": [0.706815, 0.706815]}, optimizer=True)
def average_begins(kit: Kit) -> Any:
    if lacks_averages(kit):
        return [0.770519, 0.770519]
    options = {"use_ema": True, "ema_momentum": 0.5, "ema_overwrite_frequency": 1}
    return walked(kit, kit.make("SGD", 0.1, **options))


@case(
    {
        "by slot": [1.0, 0.2, 0.2, 0.004],
        "by variable": [1.0, 0.2, 0.004, 0.2],
        "with the rate": [1.0, 0.25, 0.2, 0.004],
    },
    live=False,  # its own optimizer has its state when it is asked for
    optimizer=True,
)
def optimizer_variables(kit: Kit) -> Any:
    """After a step of Adam: the number of steps, the rate, averages of gradients and of their squares."""
    optimizer = kit.make("Adam", 0.25, beta_1=0.9, beta_2=0.999)
    walked(kit, optimizer, steps=1)
    found = optimizer.weights if hasattr(optimizer, "weights") else optimizer.variables
    read = kit.keras.backend.get_value if kit.old else lambda variable: variable.numpy()
    return [round(float(np.ravel(read(variable))[0]), 3) for variable in list(found)[:4]]


@case({"names": [0.629703, 0.629703], "own names": [0.547155, 0.547155]}, optimizer=True)
def decay_excludes(kit: Kit) -> Any:
    if lacks_averages(kit):
        return [0.629703, 0.629703]
    optimizer = kit.make("SGD", 0.1, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_names=["dense"])
    return walked(kit, optimizer)


@case({True: [0.772279, 0.772279], False: [0.773335, 0.773335]}, optimizer=True)
def nadam_schedule_decay(kit: Kit) -> Any:
    return walked(kit, kit.make("Nadam", 0.1))


# ---------------------------------------------------------------- faults of Keras 3 on TensorFlow


@case({"right": [0.9], "on TensorFlow": [0.858579]}, of=FAULTS)
def squares_of_rows(kit: Kit) -> Any:
    """A row that is named twice, with the gradient 1 each time: on TensorFlow Adam adds up the squares of
    both, and does not square their sum (backend/tensorflow/sparse.py, elementwise_unary of IndexedSlices)."""
    model = table_of_ones(kit, kit.make("Adam", 0.1), 2)
    model.train_on_batch(np.ones((1, 2), np.float32), np.zeros((1, 2), np.float32))
    return [float(model.get_weights()[0][1, 0])]


@case({"right": [0.810512, 0.810512], "on TensorFlow": [0.818181, 0.818181]}, of=FAULTS)
def schedule_free(kit: Kit) -> Any:
    """On TensorFlow the iterate before a step is the variable, which has moved when it is read
    (schedule_free_adamw.py, update_step: momentum.value)."""
    return walked(kit, kit.make("ScheduleFreeAdamW", 0.1))
