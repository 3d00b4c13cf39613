"""Networks and measures in another precision, against NumPy and networks built so."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_dep import LIF
from keras_dep import PLIF
from keras_dep import UnfoldTime
from keras_dep import curvature
from keras_dep import with_surrogate
from keras_dep.curvature import alignment
from keras_dep.curvature import double_precision
from keras_dep.curvature import with_dtype
from keras_dep.curvature.operators import Hessian
from keras_dep.layers import Folded

VALUES = np.array([3.0, -5.0, 1.0, 1 + 1e-9])


def network():
    """Nested, and with a neuron that has a weight of its own."""
    keras.utils.set_random_seed(3)
    inner = keras.Sequential([keras.Input((4,)), keras.layers.Dense(6), LIF(2)])
    body = [inner, keras.layers.Dense(6), PLIF(2), keras.layers.Dense(3), UnfoldTime(2)]
    return keras.Sequential([keras.Input((4,)), Folded(2), *body])


def kept():
    return keras.backend.result_type("float64", "float64") == "float64"


def product(vector):
    return ops.convert_to_tensor(VALUES, "float64") * vector


def test_single_precision_copy_of_half_precision():
    keras.mixed_precision.set_dtype_policy("mixed_bfloat16")
    model = network()
    keras.mixed_precision.set_dtype_policy("float32")
    x = np.random.default_rng(1).normal(0, 2, (10, 4)).astype("float32")
    copy, expected = with_dtype(model, "float32"), network()
    np.testing.assert_array_equal(copy.predict_on_batch(x), expected.predict_on_batch(x))
    assert {layer.compute_dtype for layer in copy._flatten_layers()} == {"float32"}
    assert np.abs(model.predict_on_batch(x) - expected.predict_on_batch(x)).max() > 1e-4


def test_every_layer_of_a_copy_multiplies_doubles():
    keras.utils.set_random_seed(0)
    inner = keras.Sequential([keras.Input((3, 3, 1)), keras.layers.Conv2D(3, 2, activation="tanh")])
    head = keras.Sequential([keras.Input((2, 2, 3)), keras.layers.Flatten(), keras.layers.Dense(2)])
    inputs = keras.Input((3, 3, 1))
    model = keras.Model(inputs, head(inner(inputs)))
    x = np.random.default_rng(1).normal(0, 1, (5, 3, 3, 1))
    kernel, bias, matrix, shift = (weight.astype("float64") for weight in model.get_weights())
    patches = np.lib.stride_tricks.sliding_window_view(x[..., 0], (2, 2), axis=(1, 2))
    maps = np.tanh(np.einsum("nhwij,ijc->nhwc", patches, kernel[:, :, 0]) + bias)
    with double_precision():
        copy = with_dtype(model, "float64")
        found = ops.convert_to_numpy(copy(ops.convert_to_tensor(x, "float64")))
    np.testing.assert_allclose(found, maps.reshape(5, -1) @ matrix + shift, rtol=0, atol=1e-14)


def branched(real):
    """Operations, a shared layer, layers and a model within layers, inputs and outputs by name."""
    keras.utils.set_random_seed(4)
    one, other = keras.Input((3, 2), name="one"), keras.Input((2,), name="other")
    shift, shared = 0.1, keras.layers.Dense(2, "tanh")
    inner = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2), shared])
    series = keras.layers.Bidirectional(keras.layers.LSTM(2))(one)
    steps = keras.layers.TimeDistributed(inner)(one)
    first = ops.relu(shared(one[:, 0]) + shared(other)) * 2 - ops.cast(other, real)
    joined = ops.concatenate([series, first], -1)
    second = keras.layers.Lambda(lambda x: ops.sin(x) + shift)(joined)
    attended = keras.layers.MultiHeadAttention(2, 2)(steps, steps)
    heads = {"a": keras.layers.Dropout(0.5, seed=1)(second), "b": ops.mean(attended, axis=1)}
    return keras.Model({"one": one, "other": other}, heads)


def test_a_copy_of_operations_and_nested_layers_rounds_nowhere():
    model, draw = branched("float32"), np.random.default_rng(1)
    x = {"one": draw.standard_normal((4, 3, 2)), "other": draw.standard_normal((4, 2))}
    floatx = keras.config.floatx()
    with double_precision():
        try:
            keras.config.set_floatx("float64")
            keras.config.set_dtype_policy("float64")
            wanted = branched("float64")
        finally:
            keras.config.set_floatx(floatx)
        wanted.set_weights(model.get_weights())
        keras.config.set_dtype_policy("float32")
        copy = with_dtype(model, "float64")
        assert {weight.dtype for weight in copy.weights} == {"float64"}
        x = {name: ops.convert_to_tensor(value, "float64") for name, value in x.items()}
        for name, output in copy(x).items():
            assert keras.backend.standardize_dtype(output.dtype) == "float64"
            right = ops.convert_to_numpy(wanted(x)[name])
            np.testing.assert_allclose(ops.convert_to_numpy(output), right, atol=1e-14)
    assert len(copy.weights) == len(model.weights)


def test_a_hessian_in_doubles_of_low_rank_updates_and_frozen_parts():
    """A frozen layer within a layer keeps its flag, and a low-rank kernel its factors."""
    inputs = keras.Input((4, 3))
    pair = keras.layers.Bidirectional(keras.layers.SimpleRNN(2, unroll=True))
    dense = keras.layers.Dense(2)
    model = keras.Model(inputs, dense(pair(inputs)) + 1.0)
    pair.forward_layer.trainable = False
    dense.enable_lora(1)
    draw = np.random.default_rng(2)
    model.set_weights([draw.standard_normal(weight.shape) for weight in model.weights])
    x, y = draw.standard_normal((3, 4, 3)).astype("float32"), np.zeros((3, 2), "float32")
    single, double = Hessian(model, "mse"), Hessian(model, "mse", dtype="float64")
    assert list(double.shapes) == list(single.shapes) and len(double.shapes) == 6
    vector = draw.standard_normal(single.dimension)
    found, wanted = (ops.convert_to_numpy(each.at(x, y)(vector)) for each in (single, double))
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)


def test_it_ends_with_its_block():
    before = kept()
    with pytest.raises(KeyError), double_precision():
        with double_precision():
            assert kept()
        assert kept()
        raise KeyError
    assert kept() == before == (keras.backend.backend() == "tensorflow")


def test_spectra_are_those_of_doubles():
    options = {"dimension": 4, "dtype": "float64"}
    found = curvature.lanczos(product, count=4, tolerance=1e-14, **options)
    np.testing.assert_allclose(np.sort(found.eigenvalues), np.sort(VALUES), rtol=1e-14)
    found = curvature.power_iteration(product, count=1, tolerance=1e-15, max_steps=200, **options)
    # The peer divides by the length and a millionth, before the product once more.
    length = 5 / (5 + 1e-6)
    assert found.eigenvalues[0] == pytest.approx(-5 * (length / (length + 1e-6)) ** 2, rel=1e-11)
    found = curvature.hutch_plus_plus(product, products=12, **options)
    assert found.value == pytest.approx(VALUES.sum(), abs=1e-13)
    density = curvature.spectral_density(product, steps=4, **options)
    assert sum(density.nodes[0]) == pytest.approx(VALUES.sum(), abs=1e-13)


def test_alignment_is_that_of_doubles():
    """Of one linear neuron and one example the gradient is the only direction that bends."""
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, use_bias=False)])
    hessian = Hessian(model, keras.losses.MeanSquaredError(), dtype="float64")
    x, y = np.array([[0.1, -0.2, 0.3, 0.7]]), np.array([[3.0]])
    found = hessian.spectrum(x, y, count=1, tolerance=1e-14, vectors=True)
    assert found.radius == pytest.approx(2 * np.sum(x**2), rel=1e-14)
    measured = alignment.measure(hessian, x, y, found)
    assert measured.gradient_energy_in_top == pytest.approx(1.0, abs=1e-13)
    assert measured.curvature_along_gradient == pytest.approx(found.radius, rel=1e-13)
    gradient = ops.convert_to_numpy(hessian.gradient(x, y))
    weights = model.get_weights()[0].astype("float64")
    np.testing.assert_allclose(gradient, (2 * (x @ weights - y) * x)[0], rtol=1e-14)


def test_bad_input():
    plain = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)], name="plain")
    with pytest.raises(ValueError, match="dtype must be float32 or float64; received 'float16'"):
        with_dtype(plain, "float16")
    with pytest.raises(ValueError, match="must be functional or sequential"):
        with_dtype(with_surrogate(network(), "arctan"), "float32")
    coded = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, name="coded")])
    coded.quantize("int8")
    with pytest.raises(ValueError, match="'coded' is quantized") as raised:
        with_dtype(coded, "float32")
    assert "\n" not in str(raised.value)
    if not kept():
        with pytest.raises(
            ValueError, match="call the copy within keras_dep.curvature.double_precision"
        ):
            with_dtype(plain, "float64")
