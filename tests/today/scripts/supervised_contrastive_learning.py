"""Supervised contrastive learning: an encoder with a projection head, then a classifier on the frozen encoder."""

import numpy as np

import keras
from keras import layers, ops

num_classes = 4
input_shape = (12, 12, 3)
rng = np.random.RandomState(0)
y_train = rng.randint(0, num_classes, (96, 1))
x_train = (rng.rand(96, *input_shape) + 0.5 * y_train[:, :, None, None]).astype("float32")
x_test, y_test = x_train[:32] + 0.1, y_train[:32]

data_augmentation = keras.Sequential(
    [layers.Normalization(), layers.RandomFlip("horizontal"), layers.RandomRotation(0.02)]
)
data_augmentation.layers[0].adapt(x_train)


def create_encoder():
    inputs = keras.Input(shape=input_shape)
    augmented = data_augmentation(inputs)
    x = layers.Conv2D(8, 3, activation="relu")(augmented)
    x = layers.Conv2D(16, 3, strides=2, activation="relu")(x)
    outputs = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs=inputs, outputs=outputs, name="cifar10-encoder")


encoder = create_encoder()
encoder.summary()

learning_rate = 0.001
batch_size = 24
hidden_units = 16
projection_units = 8
num_epochs = 3
dropout_rate = 0.5
temperature = 0.05


def create_classifier(encoder, trainable=True):
    for layer in encoder.layers:
        layer.trainable = trainable

    inputs = keras.Input(shape=input_shape)
    features = encoder(inputs)
    features = layers.Dropout(dropout_rate)(features)
    features = layers.Dense(hidden_units, activation="relu")(features)
    features = layers.Dropout(dropout_rate)(features)
    outputs = layers.Dense(num_classes, activation="softmax")(features)

    model = keras.Model(inputs=inputs, outputs=outputs, name="cifar10-classifier")
    model.compile(
        optimizer=keras.optimizers.Adam(learning_rate),
        loss=keras.losses.SparseCategoricalCrossentropy(),
        metrics=[keras.metrics.SparseCategoricalAccuracy()],
    )
    return model


def npairs_loss(y_true, y_pred):
    """Computes the npairs loss between `y_true` and `y_pred`."""
    y_pred = ops.cast(y_pred, "float32")
    y_true = ops.cast(y_true, y_pred.dtype)
    y_true = ops.cast(ops.equal(y_true, ops.transpose(y_true)), y_pred.dtype)
    y_true /= ops.sum(y_true, 1, keepdims=True)
    loss = ops.categorical_crossentropy(y_true, y_pred, from_logits=True)
    return ops.mean(loss)


class SupervisedContrastiveLoss(keras.losses.Loss):
    def __init__(self, temperature=1, name=None):
        super().__init__(name=name)
        self.temperature = temperature

    def __call__(self, labels, feature_vectors, sample_weight=None):
        # Normalize feature vectors
        feature_vectors_normalized = keras.utils.normalize(feature_vectors, axis=1, order=2)
        # Compute logits
        logits = ops.divide(
            ops.matmul(feature_vectors_normalized, ops.transpose(feature_vectors_normalized)),
            self.temperature,
        )
        return npairs_loss(ops.reshape(labels, (-1, 1)), logits)


def add_projection_head(encoder):
    inputs = keras.Input(shape=input_shape)
    features = encoder(inputs)
    outputs = layers.Dense(projection_units, activation="relu")(features)
    return keras.Model(inputs=inputs, outputs=outputs, name="cifar-encoder_with_projection-head")


encoder_with_projection_head = add_projection_head(encoder)
encoder_with_projection_head.compile(
    optimizer=keras.optimizers.Adam(learning_rate), loss=SupervisedContrastiveLoss(temperature)
)
encoder_with_projection_head.summary()
history = encoder_with_projection_head.fit(x=x_train, y=y_train, batch_size=batch_size, epochs=num_epochs)

classifier = create_classifier(encoder, trainable=False)
history = classifier.fit(x=x_train, y=y_train, batch_size=batch_size, epochs=num_epochs)
accuracy = classifier.evaluate(x_test, y_test)[1]
print(f"Test accuracy: {round(accuracy * 100, 2)}%")
