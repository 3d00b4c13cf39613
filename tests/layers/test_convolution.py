"""Convolution and pooling against Keras' own, in value and both derivatives."""

import keras
import numpy as np
import pytest
from keras import layers
from keras import ops

from keras_dep._backend import windows
from keras_dep.curvature.operators import Hessian
from keras_dep.layers.convolution import Conv2D
from keras_dep.layers.pooling import AveragePooling2D
from tests.support import native

ON_TORCH = keras.backend.backend() == "torch"
CASES = [
    dict(kernel_size=3, padding="same"),
    dict(kernel_size=(3, 1), padding="same", dilation_rate=2, use_bias=False),
    dict(kernel_size=3, padding="same", strides=2),
    dict(kernel_size=2, padding="same", activation="relu"),
    dict(kernel_size=3, padding="valid", strides=2),
    dict(kernel_size=1, padding="same", strides=2),
    dict(kernel_size=1, padding="valid", strides=(2, 3), use_bias=False),
]


def images(*shape):
    return np.random.default_rng(0).standard_normal(shape).astype("float32")


def assert_same(ours, theirs, x, shape):
    """Outputs, and the gradient of a random weighting of them with respect to the inputs."""
    found = []
    for layer in (ours, theirs):
        model = keras.Sequential([keras.Input(shape), layer])
        if layer.weights:
            draw = np.random.default_rng(1)
            layer.set_weights([draw.standard_normal(w.shape) for w in layer.get_weights()])
        outputs = ops.convert_to_numpy(ops.stop_gradient(model(x)))
        scale = ops.convert_to_tensor(np.random.default_rng(2).random(outputs.shape, "float32"))
        gradient = native.input_gradient(model, lambda y, z, scale=scale: z * scale)
        found.append((outputs, ops.convert_to_numpy(gradient(x, ops.zeros(1)))))
    for one, other in zip(*found):
        np.testing.assert_allclose(one, other, atol=2e-5)


@pytest.mark.parametrize("options", CASES, ids=str)
def test_convolves_as_keras_does(options):
    x = ops.convert_to_tensor(images(2, 6, 5, 4))
    assert_same(Conv2D(3, **options), layers.Conv2D(3, **options), x, (6, 5, 4))


SMALL = [
    (dict(kernel_size=3, padding="same"), (2, 2, 3)),
    (dict(kernel_size=3, padding="same"), (1, 4, 3)),
    (dict(kernel_size=(5, 4), padding="same", strides=(2, 1), use_bias=False), (5, 3, 3)),
    (dict(kernel_size=3, padding="same", strides=2), (1, 1, 3)),
    (dict(kernel_size=3, padding="valid", strides=2), (5, 4, 3)),
    (dict(kernel_size=3, padding="same", groups=3), (2, 2, 3)),
    (dict(kernel_size=3, padding="same", dilation_rate=2), (2, 2, 3)),
]


@pytest.mark.parametrize("options, shape", SMALL, ids=str)
def test_maps_smaller_than_the_kernel(options, shape):
    x = ops.convert_to_tensor(images(2, *shape))
    assert_same(Conv2D(3, **options), layers.Conv2D(3, **options), x, shape)


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_small_maps_are_one_product_on_a_cpu(data_format, monkeypatch):
    products = []

    def product(*args):
        products.append(args)
        return compute(*args)

    if "cpu" not in str(ops.ones(1).device).lower():
        pytest.skip("GPUs convolve small maps at full speed")
    compute = windows.product
    monkeypatch.setattr(windows, "product", product)
    for side in (1, 2, 3):
        x = images(4, *((3, side, side) if data_format == "channels_first" else (side, side, 3)))
        layer = Conv2D(5, 3, padding="same", data_format=data_format)
        outputs = layer(x)
        kernel, bias = map(ops.convert_to_numpy, (layer.kernel, layer.bias))
        maps = x.transpose(0, 2, 3, 1) if data_format == "channels_first" else x
        padded = np.pad(maps, [(0, 0), (1, 1), (1, 1), (0, 0)])
        view = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (1, 2))
        expected = np.einsum("bhwcij,ijcf->bhwf", view, kernel) + bias
        if data_format == "channels_first":
            expected = expected.transpose(0, 3, 1, 2)
        found = ops.convert_to_numpy(ops.stop_gradient(outputs))
        np.testing.assert_allclose(found, expected, atol=1e-5)
    assert len(products) == 2


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="XLA's slow paths on a CPU")
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("device", ["cpu", "gpu"])
def test_the_derivative_in_the_kernel_is_a_product_on_a_cpu(device, data_format, monkeypatch):
    import jax

    monkeypatch.setattr(jax, "default_backend", lambda: device)
    for side in (2, 3, 6):
        x = images(4, *((3, side, side) if data_format == "channels_first" else (side, side, 3)))
        options = dict(padding="same", data_format=data_format)
        layer, theirs = Conv2D(5, 3, **options), layers.Conv2D(5, 3, **options)
        for each in (layer, theirs):
            each.build(x.shape)
        theirs.set_weights([images(*w.shape) for w in layer.get_weights()])
        layer.set_weights(theirs.get_weights())

        def total(kernel, layer, x=x):
            outputs = layer.stateless_call([kernel, layer.bias.value], [], x)[0]
            return ops.sum(ops.tanh(outputs))

        def convolutions(function, *args):
            return str(jax.make_jaxpr(function)(*args)).count("conv_general")

        def gradient(kernel, layer):
            return jax.grad(total)(kernel, layer)

        kernel = layer.kernel.value
        forth = convolutions(lambda x, layer=layer: layer(x), x)
        assert forth == (0 if device == "cpu" and side == 2 else 1)
        both = convolutions(lambda kernel, layer=layer: gradient(kernel, layer), kernel)
        assert both == (forth if device == "cpu" else 2)
        # Forward, reverse, forward over reverse as in the Hessian, and reverse twice.
        for derivative in (
            lambda kernel, layer: jax.jvp(lambda k: total(k, layer), (kernel,), (kernel,))[1],
            gradient,
            lambda kernel, layer: jax.jvp(lambda k: gradient(k, layer), (kernel,), (kernel,))[1],
            lambda kernel, layer: jax.grad(lambda k: ops.sum(gradient(k, layer) ** 2))(kernel),
        ):
            found = [derivative(kernel, each) for each in (layer, theirs)]
            np.testing.assert_allclose(*found, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("options", [dict(pool_size=2), dict(pool_size=3, padding="same")], ids=str)
def test_pools_as_keras_does(options):
    x = ops.convert_to_tensor(images(2, 6, 5, 4))
    assert_same(AveragePooling2D(**options), layers.AveragePooling2D(**options), x, (6, 5, 4))


@pytest.mark.skipif(not ON_TORCH, reason="TensorFlow's CPU kernels and JAX share Keras' own path")
def test_channels_first_and_groups():
    options = {"groups": 2, "padding": "same", "data_format": "channels_first"}
    x = ops.convert_to_tensor(images(2, 4, 6, 5))
    assert_same(Conv2D(6, 3, **options), layers.Conv2D(6, 3, **options), x, (4, 6, 5))
    pools = [
        kind(2, data_format="channels_first")
        for kind in (AveragePooling2D, layers.AveragePooling2D)
    ]
    assert_same(*pools, x, (4, 6, 5))


def test_curvature_is_that_of_keras_layers():
    """A loss of convolution, normalisation by running statistics, pooling and a smooth function."""
    from keras_dep.layers import MergedBatchNormalization

    products = []
    kinds = (Conv2D, MergedBatchNormalization, AveragePooling2D)
    for convolve, normalise, pool in (
        kinds,
        (layers.Conv2D, layers.BatchNormalization, layers.AveragePooling2D),
    ):
        body = [convolve(3, 3, padding="same"), normalise(), layers.Activation("tanh"), pool(2)]
        body += [convolve(2, 3, use_bias=False), layers.GlobalAveragePooling2D()]
        model = keras.Sequential([keras.Input((8, 6, 2)), *body])
        draw = np.random.default_rng(1)
        model.set_weights([draw.uniform(0.2, 1, w.shape) for w in model.get_weights()])
        curvature = Hessian(model, lambda y, z: ops.mean(ops.square(ops.tanh(z) - y)))
        product = curvature.at(images(4, 8, 6, 2), np.zeros((4, 2), "float32"))
        size = sum(int(np.prod(w.shape)) for w in model.trainable_variables)
        vector = ops.convert_to_tensor(draw.standard_normal(size).astype("float32"))
        products.append(ops.convert_to_numpy(product(vector)))
    assert np.abs(products[1]).max() > 1e-2
    np.testing.assert_allclose(*products, rtol=1e-3, atol=1e-5)


def test_half_precision_and_config():
    convolution = Conv2D(3, 3, dtype="mixed_bfloat16")
    outputs = convolution(images(2, 6, 5, 4))
    assert keras.backend.standardize_dtype(outputs.dtype) == "bfloat16"
    whole = ops.conv(images(2, 6, 5, 4), convolution.kernel.value)
    rounded = (
        ops.convert_to_numpy(ops.cast(each, "float32"))
        for each in map(ops.stop_gradient, (outputs, whole))
    )
    np.testing.assert_allclose(*rounded, atol=0.05)
    for layer in (convolution, AveragePooling2D(2)):
        copy = keras.layers.deserialize(keras.layers.serialize(layer))
        assert type(copy) is type(layer) and copy.get_config() == layer.get_config()
