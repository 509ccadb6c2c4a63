"""A forecast fed back step by step through a cell, a window generator class and a residual wrapper, as a tutorial has it."""

import numpy as np
import pandas as pd
import tensorflow as tf

rng = np.random.RandomState(3)
hours = np.arange(300)
df = pd.DataFrame(
    {
        "T": np.sin(hours / 12) + 0.1 * rng.randn(300),
        "p": np.cos(hours / 24),
        "day": np.sin(hours * 2 * np.pi / 24),
    }
)
train_df, val_df = df[:200], df[200:]
train_mean, train_std = train_df.mean(), train_df.std()
train_df, val_df = (train_df - train_mean) / train_std, (val_df - train_mean) / train_std


class WindowGenerator:
    def __init__(self, input_width, label_width, shift, label_columns=None):
        self.label_columns = label_columns
        self.column_indices = {name: i for i, name in enumerate(train_df.columns)}
        self.total = input_width + shift
        self.input_slice = slice(0, input_width)
        self.labels_slice = slice(self.total - label_width, None)
        self.input_width, self.label_width = input_width, label_width

    def split_window(self, features):
        inputs = features[:, self.input_slice, :]
        labels = features[:, self.labels_slice, :]
        if self.label_columns is not None:
            labels = tf.stack(
                [labels[:, :, self.column_indices[name]] for name in self.label_columns], axis=-1
            )
        inputs.set_shape([None, self.input_width, None])
        labels.set_shape([None, self.label_width, None])
        return inputs, labels

    def make_dataset(self, data):
        data = np.array(data, dtype=np.float32)
        ds = tf.keras.utils.timeseries_dataset_from_array(
            data=data,
            targets=None,
            sequence_length=self.total,
            sequence_stride=1,
            shuffle=False,
            batch_size=32,
        )
        return ds.map(self.split_window)

    @property
    def train(self):
        return self.make_dataset(train_df)

    @property
    def val(self):
        return self.make_dataset(val_df)

    @property
    def example(self):
        result = getattr(self, "_example", None)
        if result is None:
            result = next(iter(self.train))
            self._example = result
        return result


OUT, FEATURES = 5, 3
multi = WindowGenerator(input_width=12, label_width=OUT, shift=OUT)


class FeedBack(tf.keras.Model):
    def __init__(self, units, out_steps):
        super().__init__()
        self.out_steps = out_steps
        self.units = units
        self.lstm_cell = tf.keras.layers.LSTMCell(units)
        self.lstm_rnn = tf.keras.layers.RNN(self.lstm_cell, return_state=True)
        self.dense = tf.keras.layers.Dense(FEATURES)

    def warmup(self, inputs):
        x, *state = self.lstm_rnn(inputs)
        prediction = self.dense(x)
        return prediction, state

    def call(self, inputs, training=None):
        predictions = []
        prediction, state = self.warmup(inputs)
        predictions.append(prediction)
        for n in range(1, self.out_steps):
            x = prediction
            x, state = self.lstm_cell(x, states=state, training=training)
            prediction = self.dense(x)
            predictions.append(prediction)
        predictions = tf.stack(predictions)
        return tf.transpose(predictions, [1, 0, 2])


class ResidualWrapper(tf.keras.Model):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def call(self, inputs, *args, **kwargs):
        delta = self.model(inputs, *args, **kwargs)
        return inputs + delta


class Baseline(tf.keras.Model):
    def __init__(self, label_index=None):
        super().__init__()
        self.label_index = label_index

    def call(self, inputs):
        if self.label_index is None:
            return inputs
        result = inputs[:, :, self.label_index]
        return result[:, :, tf.newaxis]


def compile_and_fit(model, window, patience=2):
    early_stopping = tf.keras.callbacks.EarlyStopping(monitor="val_loss", patience=patience, mode="min")
    model.compile(
        loss=tf.losses.MeanSquaredError(),
        optimizer=tf.optimizers.Adam(),
        metrics=[tf.metrics.MeanAbsoluteError()],
    )
    return model.fit(
        window.train, epochs=3, validation_data=window.val, callbacks=[early_stopping], verbose=0
    )


single = WindowGenerator(1, 1, 1, ["T"])
baseline = Baseline(label_index=single.column_indices["T"])
baseline.compile(loss=tf.losses.MeanSquaredError(), metrics=[tf.metrics.MeanAbsoluteError()])
val_performance = {"Baseline": baseline.evaluate(single.val, verbose=0)}
feedback = FeedBack(units=8, out_steps=OUT)
prediction, state = feedback.warmup(multi.example[0])
print(prediction.shape, "Output shape (batch, time, features): ", feedback(multi.example[0]).shape)
compile_and_fit(feedback, multi)
val_performance["FeedBack"] = feedback.evaluate(multi.val, verbose=0)
wide = WindowGenerator(12, 12, 1)
residual = ResidualWrapper(
    tf.keras.Sequential(
        [
            tf.keras.layers.LSTM(8, return_sequences=True),
            tf.keras.layers.Dense(FEATURES, kernel_initializer=tf.initializers.zeros()),
        ]
    )
)
compile_and_fit(residual, wide)
for name, value in val_performance.items():
    print(f"{name:12s}: {value[1]:0.4f}")
