"""The networks for ImageNet that tf.keras and Keras 3 have, and Keras 2 has not, by their modules."""

FAMILIES = {
    "convnext": tuple(f"ConvNeXt{size}" for size in ("Base", "Large", "Small", "Tiny", "XLarge")),
    "efficientnet": tuple(f"EfficientNetB{number}" for number in range(8)),
    "efficientnet_v2": tuple(f"EfficientNetV2{size}" for size in ("B0", "B1", "B2", "B3", "L", "M", "S")),
    "mobilenet_v3": ("MobileNetV3Large", "MobileNetV3Small"),
}
# Those of tf.keras alone
OF_TF_KERAS = {
    "regnet": tuple(
        f"RegNet{kind}{size:03}" for kind in "XY" for size in (2, 4, 6, 8, 16, 32, 40, 64, 80, 120, 160, 320)
    ),
    "resnet_rs": tuple(f"ResNetRS{depth}" for depth in (50, 101, 152, 200, 270, 350, 420)),
}
