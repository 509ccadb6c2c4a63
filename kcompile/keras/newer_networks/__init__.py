"""Networks for ImageNet that tf.keras and Keras 3 have, and Keras 2 has not.

Each module is a family, as in `kcompile.keras.applications`, whose `building` says what the arguments mean.
Names of layers, their order and that of weights are those of tf_keras 2.21 and Keras 3.15, whose sources say
the widths, the addresses of weights and their digests.
"""
