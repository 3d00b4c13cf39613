"""What Keras expresses well enough where the framework compiles a whole program."""

import contextlib
import math
import typing

import keras

from keras_dep._backend import calls
from keras_dep._internal import keras_internals


def stateless_outputs(model, values, x):
    with keras.StatelessScope(state_mapping=values, collect_losses=True) as scope:
        outputs = model(x, training=False)
    return outputs, scope.losses


def unchanged(model):
    """Within the block variables of a model have their values, and what it assigns is forgotten."""
    mapping = [(variable, variable.value) for variable in model.variables]
    return keras.StatelessScope(state_mapping=mapping)


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


def share_of_replica(loss):
    return loss


def branches_freely(tensor):
    return True


def module_role(module, variable):
    return "weight of a torch module, which does not run here", None, None


def outermost_call():
    return calls.outermost()


class TrainingPass(typing.NamedTuple):
    """What a pass in training mode found, without having changed anything.

    Attributes:
        gradients: of the loss in each trainable variable, `None` where it has none.
        loss: the scalar loss.
        outputs: the model's outputs.
        updates: new values of other variables, by their place in `updated(model)`.
    """

    gradients: list
    loss: typing.Any
    outputs: typing.Any
    updates: dict


def updated(model):
    """The variables of a model that a training pass may update."""
    return [*model.non_trainable_variables, *model.metrics_variables]


class TransformedStep(keras.Model):
    """A train step that changes its batch first; for frameworks whose variables hold state."""

    compiled_draws_agree = True

    def train_step(self, data):
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        x, y = self.transform_batch(x, y, _gradient)
        x = self.choose_gradient(x, y, sample_weight, self._training_pass)
        return super().train_step((x, y, sample_weight))

    def transform_batch(self, x, y, gradient):
        return x, y

    def choose_gradient(self, x, y, sample_weight, training_pass):
        return x

    def differentiated(self, program, values):
        """`found`, and the gradients of `total` in the values, of `program(values)`."""
        raise NotImplementedError

    def _training_pass(self, x, y, sample_weight, offsets=None):
        variables, others = self.trainable_variables, updated(self)
        values = moved([keras.ops.convert_to_tensor(v.value) for v in variables], offsets)

        def program(values):
            mapping = list(zip(variables, values))
            with keras.StatelessScope(state_mapping=mapping, collect_losses=True) as scope:
                outputs = self(x, training=True)
                loss = self.compute_loss(
                    x=x, y=y, y_pred=outputs, sample_weight=sample_weight, training=True
                )
                total = self.optimizer.scale_loss(loss)
            values = map(scope.get_current_value, others)
            updates = {str(i): value for i, value in enumerate(values) if value is not None}
            return total, (loss, outputs, updates)

        found, gradients = self.differentiated(program, values)
        scale = self.optimizer.scale_loss(keras.ops.ones(()))
        return TrainingPass(unscaled(gradients, scale), *found)


def moved(values, offsets):
    """Each tensor plus its offset; the same where there is no offset."""
    if offsets is None:
        return values
    return [value if by is None else value + by for value, by in zip(values, offsets)]


def unscaled(gradients, scale):
    return [None if g is None else g / keras.ops.cast(scale, g.dtype) for g in gradients]


def _gradient(both, x, y, extra, replaced):
    others = replaced(_read)
    own = [(variable, _read(variable)) for variable, _ in others]
    _assign(others)
    found = both(x, y, *extra)
    _assign(own)
    return found


def _read(variable):
    # A copy, which stays as it is when the variable moves.
    return keras.ops.copy(variable.value)


def _assign(pairs):
    for variable, value in pairs:
        variable.assign(value)
