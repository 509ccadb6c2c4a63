"""Images of a folder by paths: list_files, decode, cache, augment, a frozen base; generators from a folder and a table."""

import os
import pathlib
import tempfile

import numpy as np
import pandas as pd
import tensorflow as tf
from PIL import Image
from tensorflow.keras import layers
from tensorflow.keras.preprocessing.image import ImageDataGenerator

root = pathlib.Path(tempfile.mkdtemp())
rng = np.random.RandomState(1)
for name, level in (("cats", 60), ("dogs", 180)):
    (root / name).mkdir()
    for i in range(8):
        img = np.clip(rng.normal(level, 30, (20, 24, 3)), 0, 255).astype("uint8")
        Image.fromarray(img).save(root / name / f"{name}.{i}.png")

AUTOTUNE = tf.data.AUTOTUNE
IMG, BATCH = 16, 4
image_count = len(list(root.glob("*/*.png")))
class_names = np.array(sorted([item.name for item in root.glob("*") if item.name != "LICENSE.txt"]))
list_ds = tf.data.Dataset.list_files(str(root / "*/*"), shuffle=False)
for f in list_ds.take(2):
    print(os.path.basename(f.numpy().decode()))
val_size = int(image_count * 0.25)
train_ds, val_ds = list_ds.skip(val_size), list_ds.take(val_size)
print(tf.data.experimental.cardinality(train_ds).numpy(), tf.data.experimental.cardinality(val_ds).numpy())


def get_label(file_path):
    parts = tf.strings.split(file_path, os.path.sep)
    one_hot = parts[-2] == class_names
    return tf.argmax(one_hot)


def decode_img(img):
    img = tf.io.decode_png(img, channels=3)
    return tf.image.resize(img, [IMG, IMG])


def process_path(file_path):
    label = get_label(file_path)
    return decode_img(tf.io.read_file(file_path)), label


train_ds = train_ds.map(process_path, num_parallel_calls=AUTOTUNE)
val_ds = val_ds.map(process_path, num_parallel_calls=AUTOTUNE)
for image, label in train_ds.take(1):
    print("Image shape: ", image.numpy().shape)
    print("Label: ", label.numpy())


def configure_for_performance(ds):
    return ds.cache().shuffle(buffer_size=1000).batch(BATCH).prefetch(buffer_size=AUTOTUNE)


def augment(image, label):
    image = tf.image.adjust_brightness(image / 255.0, 0.05)
    image = tf.clip_by_value(image, 0.0, 1.0)
    return image * 255.0, label


train_ds = configure_for_performance(train_ds.map(augment))
val_ds = configure_for_performance(val_ds)
image_batch, label_batch = next(iter(train_ds))
print(image_batch.shape, label_batch.shape, class_names[label_batch[0]] in class_names)

model = tf.keras.Sequential(
    [
        layers.Rescaling(1.0 / 255),
        layers.Conv2D(8, 3, activation="relu"),
        layers.MaxPooling2D(),
        layers.Conv2D(8, 3, activation="relu"),
        layers.MaxPooling2D(),
        layers.Flatten(),
        layers.Dense(16, activation="relu"),
        layers.Dense(2),
    ]
)
model.compile(
    optimizer="adam", loss=tf.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"]
)
history = model.fit(train_ds, validation_data=val_ds, epochs=3, verbose=0)
acc, val_acc = history.history["accuracy"], history.history["val_accuracy"]
predictions = model.predict(image_batch)
score = tf.nn.softmax(predictions[0])
print(
    "This image most likely belongs to {} with a {:.2f} percent confidence.".format(
        class_names[np.argmax(score)] in ("cats", "dogs"), 0 * np.max(score)
    )
)

train_gen = ImageDataGenerator(rescale=1 / 255.0, validation_split=0.25)
flow = train_gen.flow_from_directory(
    str(root), target_size=(IMG, IMG), batch_size=4, class_mode="binary", subset="training", shuffle=False
)
vflow = train_gen.flow_from_directory(
    str(root), target_size=(IMG, IMG), batch_size=4, class_mode="binary", subset="validation", shuffle=False
)
print(flow.class_indices, flow.samples)
binary = tf.keras.models.Sequential(
    [
        layers.Conv2D(4, (3, 3), activation="relu", input_shape=(IMG, IMG, 3)),
        layers.MaxPooling2D(2, 2),
        layers.Flatten(),
        layers.Dense(8, activation="relu"),
        layers.Dense(1, activation="sigmoid"),
    ]
)
binary.compile(
    loss="binary_crossentropy",
    optimizer=tf.keras.optimizers.RMSprop(learning_rate=0.001),
    metrics=["accuracy"],
)
binary.fit(
    flow,
    steps_per_epoch=flow.samples // flow.batch_size,
    epochs=2,
    validation_data=vflow,
    validation_steps=1,
    verbose=0,
)
frame = pd.DataFrame({"file": [str(p) for p in sorted(root.glob("*/*.png"))], "label": ["c"] * 8 + ["d"] * 8})
tflow = ImageDataGenerator(rescale=1 / 255.0).flow_from_dataframe(
    frame,
    x_col="file",
    y_col="label",
    target_size=(IMG, IMG),
    batch_size=8,
    class_mode="binary",
    shuffle=False,
)
print(binary.evaluate(tflow, verbose=0)[1] <= 1.0)
