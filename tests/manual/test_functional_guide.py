"""Document 001, the guide to the functional API: samples run, and what they say of themselves holds."""

from __future__ import annotations

import numpy as np
import pytest
from samples import Model, Sequential, keras, sample

layers = keras.layers
Conv2D, Dense, Embedding, Flatten = layers.Conv2D, layers.Dense, layers.Embedding, layers.Flatten
Input, LSTM, MaxPooling2D = layers.Input, layers.LSTM, layers.MaxPooling2D


@sample("001:385-402", "001:410-412", "001:417-426")
def test_a_first_model_and_the_model_as_a_layer():
    from keras.layers import Dense, Input, TimeDistributed
    from keras.models import Model

    data, labels = np.random.rand(64, 784), np.eye(10)[np.random.randint(0, 10, 64)]
    inputs = Input(shape=(784,))
    x = Dense(64, activation="relu")(inputs)
    x = Dense(64, activation="relu")(x)
    predictions = Dense(10, activation="softmax")(x)
    model = Model(inputs=inputs, outputs=predictions)
    model.compile(optimizer="rmsprop", loss="categorical_crossentropy", metrics=["accuracy"])
    model.fit(data, labels, verbose=0)
    x = Input(shape=(784,))
    y = model(x)
    assert np.allclose(Model(x, y).predict(data), model.predict(data), atol=1e-6)
    input_sequences = Input(shape=(20, 784))
    processed_sequences = TimeDistributed(model)(input_sequences)
    video = Model(input_sequences, processed_sequences)
    assert video.output_shape == (None, 20, 10)
    frames = np.random.rand(2, 20, 784)
    assert np.allclose(video.predict(frames)[:, 7], model.predict(frames[:, 7]), atol=1e-5)


@sample(
    "001:442-455", "001:460-460", "001:465-474", "001:479-479", "001:484-485", "001:490-491", "001:496-503"
)
def test_several_inputs_and_outputs():
    main_input = Input(shape=(100,), dtype="int32", name="main_input")
    x = Embedding(output_dim=512, input_dim=10000, input_length=100)(main_input)
    lstm_out = LSTM(32)(x)
    auxiliary_output = Dense(1, activation="sigmoid", name="aux_output")(lstm_out)
    auxiliary_input = Input(shape=(5,), name="aux_input")
    x = keras.layers.concatenate([lstm_out, auxiliary_input])
    for _ in range(3):
        x = Dense(64, activation="relu")(x)
    main_output = Dense(1, activation="sigmoid", name="main_output")(x)
    model = Model(inputs=[main_input, auxiliary_input], outputs=[main_output, auxiliary_output])
    assert model.output_shape == [(None, 1), (None, 1)]
    model.compile(optimizer="rmsprop", loss="binary_crossentropy", loss_weights=[1.0, 0.2])
    headline_data, additional_data = np.random.randint(1, 10000, (32, 100)), np.random.rand(32, 5)
    labels = np.random.randint(0, 2, (32, 1))
    first = model.evaluate([headline_data, additional_data], [labels, labels], verbose=0)
    assert np.isclose(first[0], first[1] + 0.2 * first[2], rtol=1e-5)
    model.fit([headline_data, additional_data], [labels, labels], epochs=2, batch_size=32, verbose=0)
    model.compile(
        optimizer="rmsprop",
        loss={"main_output": "binary_crossentropy", "aux_output": "binary_crossentropy"},
        loss_weights={"main_output": 1.0, "aux_output": 0.2},
    )
    history = model.fit(
        {"main_input": headline_data, "aux_input": additional_data},
        {"main_output": labels, "aux_output": labels},
        epochs=2,
        batch_size=32,
        verbose=0,
    ).history
    assert set(history) == {"loss", "main_output_loss", "aux_output_loss"}
    assert history["loss"][-1] < first[0]


@sample("001:521-526", "001:531-555")
def test_a_shared_recurrent_layer():
    tweet_a = Input(shape=(140, 256))
    tweet_b = Input(shape=(140, 256))
    shared_lstm = LSTM(64)
    encoded_a = shared_lstm(tweet_a)
    encoded_b = shared_lstm(tweet_b)
    merged_vector = keras.layers.concatenate([encoded_a, encoded_b], axis=-1)
    predictions = Dense(1, activation="sigmoid")(merged_vector)
    model = Model(inputs=[tweet_a, tweet_b], outputs=predictions)
    assert model.count_params() == 4 * 64 * (256 + 64 + 1) + 129
    model.compile(optimizer="rmsprop", loss="binary_crossentropy", metrics=["accuracy"])
    data = [np.random.rand(8, 140, 256) for _ in "ab"]
    assert len(model.fit(data, np.random.randint(0, 2, (8, 1)), epochs=1, verbose=0).history) == 2


@sample("001:568-573", "001:578-585", "001:597-598")
def test_outputs_of_a_layer_that_is_called_once_or_twice():
    a, b = Input(shape=(140, 256)), Input(shape=(140, 256))
    lstm = LSTM(32)
    encoded_a = lstm(a)
    assert lstm.output == encoded_a
    encoded_b = lstm(b)
    with pytest.raises(AttributeError, match="lstm"):
        lstm.output  # noqa: B018
    assert lstm.get_output_at(0) == encoded_a
    assert lstm.get_output_at(1) == encoded_b


@sample("001:603-615")
def test_shapes_of_a_layer_that_is_called_twice():
    a, b = Input(shape=(32, 32, 3)), Input(shape=(64, 64, 3))
    conv = Conv2D(16, (3, 3), padding="same")
    conv(a)
    assert conv.input_shape == (None, 32, 32, 3)
    conv(b)
    with pytest.raises(AttributeError):
        conv.input_shape  # noqa: B018
    assert conv.get_input_shape_at(0) == (None, 32, 32, 3)
    assert conv.get_input_shape_at(1) == (None, 64, 64, 3)


@sample("001:627-640", "001:648-655")
def test_inception_and_residual_connections():
    input_img = Input(shape=(256, 256, 3))
    tower_1 = Conv2D(64, (1, 1), padding="same", activation="relu")(input_img)
    tower_1 = Conv2D(64, (3, 3), padding="same", activation="relu")(tower_1)
    tower_2 = Conv2D(64, (1, 1), padding="same", activation="relu")(input_img)
    tower_2 = Conv2D(64, (5, 5), padding="same", activation="relu")(tower_2)
    tower_3 = MaxPooling2D((3, 3), strides=(1, 1), padding="same")(input_img)
    tower_3 = Conv2D(64, (1, 1), padding="same", activation="relu")(tower_3)
    output = keras.layers.concatenate([tower_1, tower_2, tower_3], axis=1)
    assert Model(input_img, output).output_shape == (None, 768, 256, 64)
    x = Input(shape=(256, 256, 3))
    y = Conv2D(3, (3, 3), padding="same")(x)
    z = keras.layers.add([x, y])
    image = np.random.rand(1, 256, 256, 3)
    residual, plain = Model(x, z).predict(image), Model(x, y).predict(image)
    assert np.allclose(residual - plain, image, atol=1e-5)


@sample("001:663-686")
def test_a_shared_vision_model():
    digit_input = Input(shape=(27, 27, 1))
    x = Conv2D(64, (3, 3))(digit_input)
    x = Conv2D(64, (3, 3))(x)
    x = MaxPooling2D((2, 2))(x)
    out = Flatten()(x)
    vision_model = Model(digit_input, out)
    digit_a, digit_b = Input(shape=(27, 27, 1)), Input(shape=(27, 27, 1))
    concatenated = keras.layers.concatenate([vision_model(digit_a), vision_model(digit_b)])
    out = Dense(1, activation="sigmoid")(concatenated)
    classification_model = Model([digit_a, digit_b], out)
    found = classification_model.predict([np.random.rand(2, 27, 27, 1)] * 2)
    assert found.shape == (2, 1) and ((found > 0) & (found < 1)).all()


@sample("001:696-735", "001:743-760")
def test_questions_on_images_and_videos():
    """On images of 64 x 64, where the document has 224 x 224: the kernels behind them are what takes time."""
    from keras.layers import TimeDistributed

    vision_model = Sequential()
    vision_model.add(Conv2D(64, (3, 3), activation="relu", padding="same", input_shape=(64, 64, 3)))
    vision_model.add(Conv2D(64, (3, 3), activation="relu"))
    vision_model.add(MaxPooling2D((2, 2)))
    vision_model.add(Conv2D(128, (3, 3), activation="relu", padding="same"))
    vision_model.add(Conv2D(128, (3, 3), activation="relu"))
    vision_model.add(MaxPooling2D((2, 2)))
    vision_model.add(Conv2D(256, (3, 3), activation="relu", padding="same"))
    vision_model.add(Conv2D(256, (3, 3), activation="relu"))
    vision_model.add(Conv2D(256, (3, 3), activation="relu"))
    vision_model.add(MaxPooling2D((2, 2)))
    vision_model.add(Flatten())
    assert vision_model.output_shape == (None, 5 * 5 * 256)
    image_input = Input(shape=(64, 64, 3))
    encoded_image = vision_model(image_input)
    question_input = Input(shape=(100,), dtype="int32")
    embedded_question = Embedding(input_dim=10000, output_dim=256, input_length=100)(question_input)
    encoded_question = LSTM(256)(embedded_question)
    merged = keras.layers.concatenate([encoded_question, encoded_image])
    output = Dense(1000, activation="softmax")(merged)
    vqa_model = Model(inputs=[image_input, question_input], outputs=output)
    assert vqa_model.output_shape == (None, 1000)
    video_input = Input(shape=(100, 64, 64, 3))
    encoded_frame_sequence = TimeDistributed(vision_model)(video_input)
    encoded_video = LSTM(256)(encoded_frame_sequence)
    question_encoder = Model(inputs=question_input, outputs=encoded_question)
    video_question_input = Input(shape=(100,), dtype="int32")
    encoded_video_question = question_encoder(video_question_input)
    merged = keras.layers.concatenate([encoded_video, encoded_video_question])
    output = Dense(1000, activation="softmax")(merged)
    video_qa_model = Model(inputs=[video_input, video_question_input], outputs=output)
    assert video_qa_model.output_shape == (None, 1000)
