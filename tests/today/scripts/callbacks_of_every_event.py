"""Callbacks: every event and its logs, stopping, rates by epoch and batch, access to the model."""

import keras
import numpy as np


def get_model():
    model = keras.Sequential()
    model.add(keras.layers.Dense(1))
    model.compile(
        optimizer=keras.optimizers.RMSprop(learning_rate=0.1),
        loss="mean_squared_error",
        metrics=["mean_absolute_error"],
    )
    return model


r = np.random.RandomState(0)
x_train, y_train = r.rand(512, 784).astype("float32"), r.randint(0, 10, 512).astype("float32")
x_test, y_test = r.rand(256, 784).astype("float32"), r.randint(0, 10, 256).astype("float32")


class CustomCallback(keras.callbacks.Callback):
    def on_train_begin(self, logs=None):
        print(f"Starting training; got log keys: {list(logs.keys())}")

    def on_train_end(self, logs=None):
        print(f"Stop training; got log keys: {list(logs.keys())}")

    def on_epoch_begin(self, epoch, logs=None):
        print(f"Start epoch {epoch} of training; got log keys: {list(logs.keys())}")

    def on_epoch_end(self, epoch, logs=None):
        print(f"End epoch {epoch} of training; got log keys: {list(logs.keys())}")

    def on_test_begin(self, logs=None):
        print(f"Start testing; got log keys: {list(logs.keys())}")

    def on_test_end(self, logs=None):
        print(f"Stop testing; got log keys: {list(logs.keys())}")

    def on_predict_begin(self, logs=None):
        print(f"Start predicting; got log keys: {list(logs.keys())}")

    def on_predict_end(self, logs=None):
        print(f"Stop predicting; got log keys: {list(logs.keys())}")

    def on_train_batch_begin(self, batch, logs=None):
        print(f"...Training: start of batch {batch}; got log keys: {list(logs.keys())}")

    def on_train_batch_end(self, batch, logs=None):
        print(f"...Training: end of batch {batch}; got log keys: {list(logs.keys())}")

    def on_test_batch_begin(self, batch, logs=None):
        print(f"...Evaluating: start of batch {batch}; got log keys: {list(logs.keys())}")

    def on_test_batch_end(self, batch, logs=None):
        print(f"...Evaluating: end of batch {batch}; got log keys: {list(logs.keys())}")

    def on_predict_batch_begin(self, batch, logs=None):
        print(f"...Predicting: start of batch {batch}; got log keys: {list(logs.keys())}")

    def on_predict_batch_end(self, batch, logs=None):
        print(f"...Predicting: end of batch {batch}; got log keys: {list(logs.keys())}")


model = get_model()
model.fit(
    x_train, y_train, batch_size=128, epochs=1, verbose=0, validation_split=0.5, callbacks=[CustomCallback()]
)
res = model.evaluate(x_test, y_test, batch_size=128, verbose=0, callbacks=[CustomCallback()])
res = model.predict(x_test, batch_size=128, callbacks=[CustomCallback()], verbose=0)


class LossAndErrorPrintingCallback(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        print("Up to batch {}, the average loss is {:7.2f}.".format(batch, logs["loss"]))

    def on_test_batch_end(self, batch, logs=None):
        print("Up to batch {}, the average loss is {:7.2f}.".format(batch, logs["loss"]))

    def on_epoch_end(self, epoch, logs=None):
        print(
            "The average loss for epoch {} is {:7.2f} and mean absolute error is {:7.2f}.".format(
                epoch, logs["loss"], logs["mean_absolute_error"]
            )
        )


model = get_model()
model.fit(x_train, y_train, batch_size=128, epochs=2, verbose=0, callbacks=[LossAndErrorPrintingCallback()])
model.evaluate(x_test, y_test, batch_size=128, verbose=0, callbacks=[LossAndErrorPrintingCallback()])


class EarlyStoppingAtMinLoss(keras.callbacks.Callback):
    def __init__(self, patience=0):
        super().__init__()
        self.patience = patience
        self.best_weights = None

    def on_train_begin(self, logs=None):
        self.wait, self.stopped_epoch, self.best = 0, 0, np.inf

    def on_epoch_end(self, epoch, logs=None):
        current = logs.get("loss")
        if np.less(current, self.best):
            self.best, self.wait, self.best_weights = current, 0, self.model.get_weights()
        else:
            self.wait += 1
            if self.wait >= self.patience:
                self.stopped_epoch = epoch
                self.model.stop_training = True
                print("Restoring model weights from the end of the best epoch.")
                self.model.set_weights(self.best_weights)

    def on_train_end(self, logs=None):
        if self.stopped_epoch > 0:
            print(f"Epoch {self.stopped_epoch + 1}: early stopping")


model = get_model()
model.fit(x_train, y_train, batch_size=64, epochs=30, verbose=0, callbacks=[EarlyStoppingAtMinLoss()])


class CustomLearningRateScheduler(keras.callbacks.Callback):
    def __init__(self, schedule):
        super().__init__()
        self.schedule = schedule

    def on_epoch_begin(self, epoch, logs=None):
        if not hasattr(self.model.optimizer, "learning_rate"):
            raise ValueError('Optimizer must have a "learning_rate" attribute.')
        lr = self.model.optimizer.learning_rate
        scheduled_lr = self.schedule(epoch, lr)
        self.model.optimizer.learning_rate = scheduled_lr
        print(f"\nEpoch {epoch}: Learning rate is {float(np.array(scheduled_lr))}.")


LR_SCHEDULE = [(3, 0.05), (6, 0.01), (9, 0.005), (12, 0.001)]


def lr_schedule(epoch, lr):
    if epoch < LR_SCHEDULE[0][0] or epoch > LR_SCHEDULE[-1][0]:
        return lr
    for i in range(len(LR_SCHEDULE)):
        if epoch == LR_SCHEDULE[i][0]:
            return LR_SCHEDULE[i][1]
    return lr


model = get_model()
model.fit(
    x_train, y_train, batch_size=64, epochs=8, verbose=0, callbacks=[CustomLearningRateScheduler(lr_schedule)]
)


class ModelAccess(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        w = self.model.layers[0].get_weights()[0]
        print(
            epoch,
            w.shape,
            self.model.optimizer.iterations.numpy()
            if hasattr(self.model.optimizer.iterations, "numpy")
            else int(self.model.optimizer.iterations),
        )
        p = self.model.predict(x_test[:2], verbose=0)
        print(p.shape)
        logs["mine"] = 3.0
        print(self.params)


h = model.fit(
    x_train,
    y_train,
    batch_size=64,
    epochs=2,
    verbose=0,
    callbacks=[
        ModelAccess(),
        keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: print(epoch, sorted(logs))),
    ],
)
print(sorted(h.history))


class CyclicLR(keras.callbacks.Callback):
    def __init__(self, base, top, step):
        super().__init__()
        self.base, self.top, self.step, self.it = base, top, step, 0
        self.lrs = []

    def on_train_batch_begin(self, batch, logs=None):
        cycle = np.floor(1 + self.it / (2 * self.step))
        x = np.abs(self.it / self.step - 2 * cycle + 1)
        lr = self.base + (self.top - self.base) * max(0, 1 - x)
        keras.backend.set_value(
            self.model.optimizer.learning_rate, lr
        ) if False else self.model.optimizer.learning_rate.assign(lr)
        self.lrs.append(float(self.model.optimizer.learning_rate))
        self.it += 1


c = CyclicLR(1e-4, 1e-2, 3)
model.fit(x_train, y_train, batch_size=64, epochs=2, verbose=0, callbacks=[c])
print(c.lrs)


class LRFinder(keras.callbacks.Callback):
    def __init__(self, lo, hi, n):
        super().__init__()
        self.lo, self.factor, self.losses = lo, (hi / lo) ** (1 / n), []

    def on_train_begin(self, logs=None):
        self.w = self.model.get_weights()
        self.model.optimizer.learning_rate = self.lo

    def on_train_batch_end(self, batch, logs=None):
        lr = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        self.losses.append((lr, logs["loss"]))
        self.model.optimizer.learning_rate = lr * self.factor
        if len(self.losses) > 10:
            self.model.stop_training = True

    def on_train_end(self, logs=None):
        self.model.set_weights(self.w)


f = LRFinder(1e-5, 1, 20)
model.fit(x_train, y_train, batch_size=32, epochs=2, verbose=0, callbacks=[f])
print(f.losses)
