"""Products with the Hessian through the layers of Keras, against differences of the gradient."""

import inspect
import math
import re

import keras
import numpy as np
import pytest
from keras import layers
from keras import ops

from keras_dep import Hessian
from keras_dep.curvature import precision
from keras_dep.layers.weight_standardization import ScaledStandardizedConv2D

VECTOR, SEQUENCE, MAPS, VOLUME = (3,), (2, 2), (4, 4, 2), (3, 3, 3, 1)
# Of each group: the shape that its layers take, the step of the differences, and the precision. The
# step is longer where a framework rounds to single precision inside, or takes no doubles.
GROUPS = {
    "vectors": (VECTOR, 1e-4, "float64"),
    "pairs": (VECTOR, 1e-4, "float64"),
    "sequences": (SEQUENCE, 1e-4, "float64"),
    "recurrent": (SEQUENCE, 1e-4, "float64"),
    "attention": (SEQUENCE, 3e-3, "float64"),
    "maps": (MAPS, 1e-4, "float64"),
    "resized": (MAPS, 3e-3, "float64"),
    "volumes": (VOLUME, 1e-4, "float64"),
    "single": ((2, 2, 2, 1), 1e-2, "float32"),
}
PAIRED = ("pairs", "attention")
# Layers that no gradient reaches or passes: they take strings or whole numbers, draw at random in
# training alone, edit images or sound, wrap what another framework differentiates, or are bases.
WITHOUT = re.compile(
    "AugMix|AutoContrast|CategoryEncoding|ContrastLimited.*|CutMix|Discretization|Equalization"
    "|FlaxLayer|HashedCrossing|Hashing|InputLayer|IntegerLookup|JaxLayer|Layer|MaxNumBoundingBoxes"
    "|MelSpectrogram|MixUp|Pipeline|Rand.*|STFTSpectrogram|Solarization|StringLookup|TFSMLayer|TextVectorization"
    "|TorchModuleWrapper|Wrapper"
)


def members(group):
    """The layers of a group."""
    if group == "vectors":
        indices = layers.Lambda(lambda x: ops.cast(3 * ops.abs(x), "int32"))
        return [
            keras.Sequential([indices, layers.Embedding(3, 2)]),
            keras.Sequential([indices, layers.ReversibleEmbedding(3, 2)]),
            *(layers.Activation("gelu"), layers.Dense(2, "softmax"), layers.ELU(), layers.ReLU()),
            *(layers.Identity(), layers.Lambda(ops.sin), layers.LeakyReLU(), layers.Softmax()),
            *(layers.Normalization(mean=0.5, variance=2.0), layers.PReLU("ones")),
            *(layers.RMSNormalization(), layers.RepeatVector(2), layers.Rescaling(2.0, 1.0)),
            *(layers.SpectralNormalization(layers.Dense(2, "tanh")), layers.UnitNormalization()),
            *(layers.Dropout(0.5), layers.AlphaDropout(0.5), layers.GaussianDropout(0.5)),
            *(layers.GaussianNoise(0.5), layers.ActivityRegularization(l2=1.0)),
        ]
    if group == "pairs":
        kinds = ("Add", "Average", "Concatenate", "Maximum", "Minimum", "Multiply", "Subtract")
        return [*(getattr(layers, kind)() for kind in kinds), layers.Dot(1, normalize=True)]
    if group == "sequences":
        pooled = ("AveragePooling1D", "MaxPooling1D")
        plain = ("GlobalAveragePooling1D", "GlobalMaxPooling1D", "Flatten", "Masking", "Cropping1D")
        convolutions = ("Conv1D", "Conv1DTranspose", "SeparableConv1D")
        return [
            *(getattr(layers, kind)(2) for kind in pooled),
            *(getattr(layers, kind)() for kind in plain if kind != "Cropping1D"),
            *(getattr(layers, kind)(2, 2) for kind in convolutions),
            keras.Sequential([layers.ZeroPadding1D(1), layers.AdaptiveAveragePooling1D(2)]),
            keras.Sequential([layers.ZeroPadding1D(1), layers.AdaptiveMaxPooling1D(2)]),
            *(layers.Cropping1D((1, 0)), layers.ZeroPadding1D(), layers.UpSampling1D()),
            *(layers.DepthwiseConv1D(2), layers.EinsumDense("btd,de->bte", (2, 2))),
            *(layers.Permute((2, 1)), layers.Reshape((4,)), layers.SpatialDropout1D(0.5)),
            layers.TimeDistributed(layers.Dense(2, "tanh")),
        ]
    if group == "recurrent":
        stack = layers.StackedRNNCells([layers.SimpleRNNCell(2), layers.LSTMCell(2)])
        # Each loop that is differentiated twice takes seconds to trace or compile.
        options = {"unroll": True}
        return [
            *(layers.Bidirectional(layers.LSTM(1)), layers.GRU(2, **options)),
            *(layers.SimpleRNN(2), layers.RNN(stack, **options)),
            layers.RNN(layers.GRUCell(2), **options),
            keras.Sequential([layers.Reshape((2, 2, 1)), layers.ConvLSTM1D(1, 2, **options)]),
            keras.Sequential([layers.Reshape((2, 2, 1, 1)), layers.ConvLSTM2D(1, 1, **options)]),
            keras.Sequential([layers.Reshape((2, 2, 1, 1, 1)), layers.ConvLSTM3D(1, 1, **options)]),
        ]
    if group == "attention":
        return [
            *(layers.AdditiveAttention(), layers.Attention()),
            *(layers.MultiHeadAttention(2, 2), layers.GroupQueryAttention(2, 2, 1)),
        ]
    if group == "maps":
        pooled = ("AveragePooling2D", "MaxPooling2D", "AdaptiveAveragePooling2D")
        plain = ("GlobalAveragePooling2D", "GlobalMaxPooling2D", "ZeroPadding2D")
        convolutions = ("Conv2D", "Conv2DTranspose", "SeparableConv2D")
        return [
            *(getattr(layers, kind)(2) for kind in (*pooled, "AdaptiveMaxPooling2D")),
            *(getattr(layers, kind)() for kind in (*plain, "BatchNormalization", "UpSampling2D")),
            *(getattr(layers, kind)(2, 2) for kind in convolutions),
            *(layers.DepthwiseConv2D(2), layers.Cropping2D(1), layers.CenterCrop(2, 2)),
            *(layers.GroupNormalization(1), layers.LayerNormalization((1, 2, 3))),
            *(layers.SpatialDropout2D(0.5), ScaledStandardizedConv2D(2, 2)),
        ]
    if group == "resized":
        return [
            *(layers.Resizing(3, 5, kind) for kind in ("bilinear", "bicubic", "nearest")),
            layers.Resizing(3, 2, antialias=True),
            *(layers.UpSampling2D(interpolation=kind) for kind in ("bilinear", "bicubic")),
        ]
    if group == "volumes":
        plain = ("GlobalAveragePooling3D", "GlobalMaxPooling3D", "ZeroPadding3D", "UpSampling3D")
        return [
            *(getattr(layers, kind)() for kind in plain),
            *(layers.Conv3D(2, 2), layers.Conv3DTranspose(2, 2)),
            *(layers.Cropping3D(1), layers.SpatialDropout3D(0.5)),
        ]
    adaptive = (layers.AdaptiveAveragePooling3D(2), layers.AdaptiveMaxPooling3D(2))
    return [
        *(keras.Sequential([layers.ZeroPadding3D(1), kind]) for kind in adaptive),
        *(layers.MaxPooling3D(2), layers.AveragePooling3D(2)),
    ]


def joined(group):
    """A network of a branch for each layer, with the weights of each."""
    shape, start, branches = GROUPS[group][0], keras.Input((3,)), []
    outputs = []
    for layer in members(group):
        inner = [layers.Dense(math.prod(shape), "tanh") for _ in range(1 + (group in PAIRED))]
        parts = [layers.Reshape(shape)(dense(start)) for dense in inner]
        together = len(parts) > 1 and "value" not in inspect.signature(layer.call).parameters
        made = layer(parts) if together else layer(*parts)
        last = layers.Dense(1)
        outputs.append(last(layers.Flatten()(made)))
        weights = [w.path for part in (*inner, layer, last) for w in part.trainable_variables]
        branches.append((layer.name, weights))
    return keras.Model(start, outputs), branches


def loss(y, outputs):
    """Of each branch by itself, so that the Hessian has a block for each."""
    return sum(ops.mean(ops.square(ops.tanh(output) - y)) for output in outputs)


def disagreements(model, branches, step):
    """By layer: a product's error against differences of fourth order, relative to their norm."""
    draw, weights = np.random.default_rng(0), model.trainable_variables
    start = [0.5 * draw.standard_normal(weight.shape) for weight in weights]
    move = [draw.standard_normal(value.shape) for value in start]
    hessian = Hessian(model, loss)
    x = draw.uniform(0.2, 1, (3, 3)).astype(hessian.dtype)
    y = np.full((3, 1), 0.3, hessian.dtype)

    def gradient(times):
        for weight, at, by in zip(weights, start, move):
            weight.assign(at + times * step * by)
        return ops.convert_to_numpy(hessian.gradient(x, y)).astype("float64")

    wanted = (8 * (gradient(1) - gradient(-1)) - (gradient(2) - gradient(-2))) / (12 * step)
    gradient(0)
    found = hessian.at(x, y)(np.concatenate([by.ravel() for by in move]))
    found, wanted = hessian.by_weight(found), hessian.by_weight(wanted)
    norms = {}
    for name, paths in branches:
        right = [np.ravel(ops.convert_to_numpy(wanted[path])) for path in paths]
        off = [np.ravel(ops.convert_to_numpy(found[path])) for path in paths]
        right, off = np.concatenate(right), np.concatenate(off)
        norms[name] = np.linalg.norm(off - right) / np.linalg.norm(right)
    return norms


@pytest.mark.parametrize("group", GROUPS)
def test_products(group):
    _, step, dtype = GROUPS[group]
    keras.config.set_dtype_policy(dtype)
    with precision.kept(dtype):
        found = disagreements(*joined(group), step)
    assert {name: error for name, error in found.items() if not error < 1e-4} == {}


def test_no_layer_is_missing():
    kinds = {kind for kind in vars(layers).values() if inspect.isclass(kind)}
    covered = {type(inner) for group in GROUPS for made in members(group) for inner in _all(made)}
    missing = {kind.__name__ for kind in kinds - covered if issubclass(kind, layers.Layer)}
    assert {name for name in missing if not WITHOUT.fullmatch(name)} == set()


def _all(layer):
    cells = [getattr(layer, "cell", None), *getattr(getattr(layer, "cell", None), "cells", ())]
    return [*layer._flatten_layers(), *cells]
