"""A model with every kind of state that an attack could disturb, and all of it as bytes."""

import keras
from keras import layers
from keras import ops

from keras_dep import LIF
from keras_dep import MeanLogitAccuracy
from keras_dep import MeanLogitCrossentropy
from keras_dep import RateEncoding
from keras_dep import UnfoldTime
from keras_dep.layers import TimeSharedDropout

CLASSES, T = 4, 3


def spiking():
    model = keras.Sequential(
        [
            keras.Input((4, 4, 2)),
            layers.Conv2D(3, 3),
            layers.BatchNormalization(),
            layers.Dropout(0.5, seed=1),
            RateEncoding(T, seed=2),
            LIF(T),
            TimeSharedDropout(0.5, T, seed=3),
            layers.Flatten(),
            layers.Dense(CLASSES),
            UnfoldTime(T),
        ]
    )
    model.compile(
        keras.optimizers.SGD(0.1, momentum=0.9),
        MeanLogitCrossentropy(),
        metrics=[MeanLogitAccuracy()],
    )
    return model


def everything(model):
    owned = [*model.variables, *model.metrics_variables, *model.optimizer.variables]
    return {v.path: ops.convert_to_numpy(v.value).tobytes() for v in owned}
