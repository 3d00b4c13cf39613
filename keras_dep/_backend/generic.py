"""What Keras expresses well enough where the framework compiles a whole program."""

import contextlib
import math

import keras

from keras_dep._backend import calls
from keras_dep._internal import keras_internals


def stateless_outputs(model, values, x):
    with keras.StatelessScope(state_mapping=values, collect_losses=True) as scope:
        outputs = model(x, training=False)
    return outputs, scope.losses


def with_derivative(program, forward, backward):
    return program


def marked(values, x):
    return keras.ops.where(keras.ops.isfinite(x), values, keras.ops.cast(math.nan, values.dtype))


def fires(potential, threshold):
    return marked(keras.ops.cast(potential >= threshold, potential.dtype), potential)


def over_steps(step, start, inputs):
    outputs, carry = [], start
    for x in keras.ops.unstack(inputs):
        carry, output = step(carry, x)
        outputs.append(output)
    return keras.ops.stack(outputs)


def convolve(inputs, kernel, bias, strides, padding, dilation_rate, data_format):
    options = {"padding": padding, "data_format": data_format, "dilation_rate": dilation_rate}
    outputs = keras.ops.conv(inputs, kernel, strides, **options)
    return outputs if bias is None else biased(outputs, bias, data_format)


def biased(outputs, bias, data_format):
    shape = (1, -1, 1, 1) if data_format == "channels_first" else (1, 1, 1, -1)
    return outputs + keras.ops.reshape(bias, shape)


def average_pool(inputs, pool_size, strides, padding, data_format):
    return keras.ops.average_pool(inputs, pool_size, strides, padding, data_format)


def batch_normalizer(program):
    return program


def normalize(inputs, mean, variance, gamma, beta, axis, epsilon):
    # TensorFlow multiplies in the inputs' precision.
    inputs = keras.ops.cast(inputs, mean.dtype)
    return keras.ops.batch_normalization(inputs, mean, variance, axis, beta, gamma, epsilon)


def subtract_rank_one(matrix, left, right):
    return matrix - left * right


def leading_eigenvectors(program, closeness):
    return program


@contextlib.contextmanager
def double_precision():
    # Keras computes in float64 on TensorFlow alone, and looks its table up at each operation.
    narrowed = keras_internals.narrowed_dtypes()
    before = narrowed["float64"]
    narrowed["float64"] = "float64"
    try:
        yield
    finally:
        narrowed["float64"] = before


def orthogonalize(vector, basis):
    for unit in basis:
        vector = vector - keras.ops.sum(vector * unit) * unit
    return vector


def combination(weights, basis):
    return sum(weight * unit for weight, unit in zip(weights, basis))


def branches_freely(tensor):
    return True


def module_role(module, variable):
    return "weight of a torch module, which does not run here", None, None


def outermost_call():
    return calls.outermost()
