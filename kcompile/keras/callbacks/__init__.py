"""Callbacks: what is told of training, and may stop it, change the learning rate, or write down values."""

from kcompile.keras.callbacks.bars import BatchProgress, ProgbarLogger
from kcompile.keras.callbacks.base import BaseLogger, Callback, Events, History, LambdaCallback, check
from kcompile.keras.callbacks.checkpoint import Checkpoint
from kcompile.keras.callbacks.files import CSVLogger, ModelCheckpoint, RemoteMonitor
from kcompile.keras.callbacks.lists import CallbackList
from kcompile.keras.callbacks.monitoring import (
    EarlyStopping,
    LearningRateScheduler,
    ReduceLROnPlateau,
    TerminateOnNaN,
)
from kcompile.keras.callbacks.tensorboard import TensorBoard

__all__ = [
    "BaseLogger",
    "BatchProgress",
    "CSVLogger",
    "Callback",
    "CallbackList",
    "Checkpoint",
    "EarlyStopping",
    "Events",
    "History",
    "LambdaCallback",
    "LearningRateScheduler",
    "ModelCheckpoint",
    "ProgbarLogger",
    "ReduceLROnPlateau",
    "RemoteMonitor",
    "TensorBoard",
    "TerminateOnNaN",
    "check",
]
