"""Weather forecasting: timeseries_dataset_from_array, LSTM, EarlyStopping and ModelCheckpoint."""

import os
import tempfile

import numpy as np

import keras

os.chdir(tempfile.mkdtemp())
rng = np.random.RandomState(0)
steps = 600
t = np.arange(steps)
features = np.stack([np.sin(t / 12.0 + k) + 0.1 * rng.normal(size=steps) for k in range(5)], axis=1)

split_fraction = 0.715
train_split = int(split_fraction * steps)
step = 2
past = 40
future = 8
learning_rate = 0.001
batch_size = 64
epochs = 5


def normalize(data, train_split):
    data_mean = data[:train_split].mean(axis=0)
    data_std = data[:train_split].std(axis=0)
    return (data - data_mean) / data_std


features = normalize(features, train_split)
train_data = features[0:train_split]
val_data = features[train_split:]

start = past + future
end = start + train_split
x_train = train_data
y_train = features[start:end][:, [1]]
sequence_length = int(past / step)

dataset_train = keras.preprocessing.timeseries_dataset_from_array(
    x_train, y_train, sequence_length=sequence_length, sampling_rate=step, batch_size=batch_size
)

x_end = len(val_data) - past - future
label_start = train_split + past + future
x_val = val_data[:x_end]
y_val = features[label_start:][:, [1]]
dataset_val = keras.preprocessing.timeseries_dataset_from_array(
    x_val, y_val, sequence_length=sequence_length, sampling_rate=step, batch_size=batch_size
)

for batch in dataset_train.take(1):
    inputs, targets = batch

print("Input shape:", inputs.numpy().shape)
print("Target shape:", targets.numpy().shape)

inputs = keras.layers.Input(shape=(inputs.shape[1], inputs.shape[2]))
lstm_out = keras.layers.LSTM(16)(inputs)
outputs = keras.layers.Dense(1)(lstm_out)

model = keras.Model(inputs=inputs, outputs=outputs)
model.compile(optimizer=keras.optimizers.Adam(learning_rate=learning_rate), loss="mse")
model.summary()

path_checkpoint = "model_checkpoint.weights.h5"
es_callback = keras.callbacks.EarlyStopping(monitor="val_loss", min_delta=0, patience=5)

modelckpt_callback = keras.callbacks.ModelCheckpoint(
    monitor="val_loss", filepath=path_checkpoint, verbose=1, save_weights_only=True, save_best_only=True
)

history = model.fit(
    dataset_train, epochs=epochs, validation_data=dataset_val, callbacks=[es_callback, modelckpt_callback]
)
print(history.history["loss"], history.history["val_loss"])

for x, y in dataset_val.take(2):
    prediction = model.predict(x)[0]
    print(x[0][:, 1].numpy().shape, y[0].numpy(), prediction)
model.load_weights(path_checkpoint)
model.evaluate(dataset_val)
