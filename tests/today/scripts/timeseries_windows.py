"""Windows of a timeseries from arrays, checkpoints of weights, the best ones loaded again."""

import keras
import numpy as np

r = np.random.RandomState(0)
n = 400
features = r.randn(n, 5).astype("float32")
target = r.randn(n, 1).astype("float32")
mean, std = features[:300].mean(0), features[:300].std(0)
features = (features - mean) / std
past, step, bs = 30, 3, 32
ds = keras.utils.timeseries_dataset_from_array(
    features[:300], target[:300], sequence_length=int(past / step), sampling_rate=step, batch_size=bs
)
dv = keras.utils.timeseries_dataset_from_array(
    features[300:], target[300:], sequence_length=int(past / step), sampling_rate=step, batch_size=bs
)
for batch in ds.take(1):
    inputs, targets = batch
print("Input shape:", inputs.numpy().shape)
print("Target shape:", targets.numpy().shape)
inputs = keras.layers.Input(shape=(inputs.shape[1], inputs.shape[2]))
lstm_out = keras.layers.LSTM(16)(inputs)
outputs = keras.layers.Dense(1)(lstm_out)
model = keras.Model(inputs=inputs, outputs=outputs)
model.compile(optimizer=keras.optimizers.Adam(learning_rate=1e-3), loss="mse")
model.summary()
es = keras.callbacks.EarlyStopping(monitor="val_loss", min_delta=0, patience=5)
mc = keras.callbacks.ModelCheckpoint(
    monitor="val_loss",
    filepath="model_checkpoint.weights.h5",
    verbose=1,
    save_weights_only=True,
    save_best_only=True,
)
history = model.fit(ds, epochs=3, validation_data=dv, callbacks=[es, mc], verbose=0)
model.load_weights("model_checkpoint.weights.h5")
for x, y in dv.take(2):
    print(x[0][:, 1].numpy().shape, y[0].numpy().shape, model.predict(x, verbose=0)[0].shape)
# TF tutorial style windows
dsw = keras.utils.timeseries_dataset_from_array(
    data=features,
    targets=None,
    sequence_length=8,
    sequence_stride=2,
    shuffle=False,
    batch_size=16,
    start_index=10,
    end_index=200,
)
print([b.shape for b in dsw][:3], len(list(dsw)))
