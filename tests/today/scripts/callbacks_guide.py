"""Writing your own callbacks: keys of logs, EarlyStoppingAtMinLoss, learning rate schedules by epoch and batch."""

import numpy as np

import keras


def get_model():
    model = keras.Sequential()
    model.add(keras.layers.Dense(1))
    model.compile(
        optimizer=keras.optimizers.RMSprop(learning_rate=0.1),
        loss="mean_squared_error",
        metrics=["mean_absolute_error"],
    )
    return model


rng = np.random.RandomState(0)
x_train = rng.rand(128, 20)
y_train = x_train.sum(1, keepdims=True)
x_test, y_test = x_train[:32], y_train[:32]
seen = []


class CustomCallback(keras.callbacks.Callback):
    def on_train_begin(self, logs=None):
        seen.append(("train begin", list(logs.keys())))

    def on_train_end(self, logs=None):
        seen.append(("train end", sorted(logs.keys())))

    def on_epoch_begin(self, epoch, logs=None):
        seen.append(("epoch begin", epoch, list(logs.keys())))

    def on_epoch_end(self, epoch, logs=None):
        seen.append(("epoch end", epoch, sorted(logs.keys())))

    def on_test_begin(self, logs=None):
        seen.append(("test begin", list(logs.keys())))

    def on_test_end(self, logs=None):
        seen.append(("test end", sorted(logs.keys())))

    def on_predict_begin(self, logs=None):
        seen.append(("predict begin", list(logs.keys())))

    def on_predict_end(self, logs=None):
        seen.append(("predict end", sorted(logs.keys())))

    def on_train_batch_begin(self, batch, logs=None):
        seen.append(("batch begin", batch, list(logs.keys())))

    def on_train_batch_end(self, batch, logs=None):
        seen.append(("batch end", batch, sorted(logs.keys())))

    def on_test_batch_end(self, batch, logs=None):
        seen.append(("test batch end", batch, sorted(logs.keys())))

    def on_predict_batch_end(self, batch, logs=None):
        seen.append(("predict batch end", batch, sorted(logs.keys())))


model = get_model()
model.fit(
    x_train, y_train, batch_size=64, epochs=1, verbose=0, validation_split=0.5, callbacks=[CustomCallback()]
)
res = model.evaluate(x_test, y_test, batch_size=16, verbose=0, callbacks=[CustomCallback()])
res = model.predict(x_test, batch_size=16, callbacks=[CustomCallback()])
assert ("train end", ["loss", "mean_absolute_error", "val_loss", "val_mean_absolute_error"]) in seen, seen
assert ("batch end", 0, ["loss", "mean_absolute_error"]) in seen


class EarlyStoppingAtMinLoss(keras.callbacks.Callback):
    def __init__(self, patience=0):
        super().__init__()
        self.patience = patience
        self.best_weights = None

    def on_train_begin(self, logs=None):
        self.wait = 0
        self.stopped_epoch = 0
        self.best = np.inf

    def on_epoch_end(self, epoch, logs=None):
        current = logs.get("loss")
        if np.less(current, self.best):
            self.best = current
            self.wait = 0
            self.best_weights = self.model.get_weights()
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


class WarmUp(keras.callbacks.Callback):
    def on_train_batch_begin(self, batch, logs=None):
        self.model.optimizer.learning_rate.assign(0.01 * (batch + 1))


LR_SCHEDULE = [(3, 0.05), (6, 0.01), (9, 0.005), (12, 0.001)]


def lr_schedule(epoch, lr):
    if epoch < LR_SCHEDULE[0][0] or epoch > LR_SCHEDULE[-1][0]:
        return lr
    for i in range(len(LR_SCHEDULE)):
        if epoch == LR_SCHEDULE[i][0]:
            return LR_SCHEDULE[i][1]
    return lr


model = get_model()
model.fit(x_train, y_train, batch_size=64, epochs=12, verbose=0, callbacks=[EarlyStoppingAtMinLoss()])
model = get_model()
model.fit(
    x_train, y_train, batch_size=64, epochs=8, verbose=0, callbacks=[CustomLearningRateScheduler(lr_schedule)]
)
model = get_model()
model.fit(x_train, y_train, batch_size=32, epochs=2, verbose=0, callbacks=[WarmUp()])
