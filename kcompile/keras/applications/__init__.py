"""Networks for ImageNet, as Keras 2 has them: same layers, names and weights, so that its weight files fit.

Each module is a family, with the preprocessing of its images; `building` says what the arguments mean.
"""

from kcompile.keras.applications.densenet import DenseNet121, DenseNet169, DenseNet201
from kcompile.keras.applications.inception import InceptionResNetV2, InceptionV3
from kcompile.keras.applications.mobilenet import MobileNet, MobileNetV2
from kcompile.keras.applications.nasnet import NASNetLarge, NASNetMobile
from kcompile.keras.applications.resnet import ResNet101, ResNet152
from kcompile.keras.applications.resnet50 import ResNet50
from kcompile.keras.applications.resnet_v2 import ResNet50V2, ResNet101V2, ResNet152V2
from kcompile.keras.applications.vgg import VGG16, VGG19
from kcompile.keras.applications.xception import Xception

__all__ = [
    "VGG16",
    "VGG19",
    "DenseNet121",
    "DenseNet169",
    "DenseNet201",
    "InceptionResNetV2",
    "InceptionV3",
    "MobileNet",
    "MobileNetV2",
    "NASNetLarge",
    "NASNetMobile",
    "ResNet50",
    "ResNet50V2",
    "ResNet101",
    "ResNet101V2",
    "ResNet152",
    "ResNet152V2",
    "Xception",
]
