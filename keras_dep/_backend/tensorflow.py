"""Derivatives and train steps in TensorFlow."""

import keras
import tensorflow as tf


def gradient_and_outputs(model, objective):
    @tf.function(reduce_retracing=True)
    def both(x, y):
        return _gradient_and_outputs(model, objective, x, y)

    return lambda x, y: both(tf.convert_to_tensor(x), tf.convert_to_tensor(y))


def hessian_product(model, loss):
    weights = [variable.value for variable in model.trainable_variables]
    sizes = [weight.shape.num_elements() for weight in weights]

    @tf.function(reduce_retracing=True)
    def product(x, y, vector):
        parts = tf.split(vector, sizes)
        parts = [tf.reshape(part, weight.shape) for part, weight in zip(parts, weights)]
        with tf.GradientTape() as outer:
            with tf.GradientTape() as inner:
                value = loss(y, model(x, training=False))
            gradients = inner.gradient(value, weights, unconnected_gradients="zero")
            slope = tf.add_n([tf.reduce_sum(g * p) for g, p in zip(gradients, parts)])
        columns = outer.gradient(slope, weights, unconnected_gradients="zero")
        return tf.concat([tf.reshape(column, [-1]) for column in columns], axis=0)

    def bind(x, y):
        x, y = tf.convert_to_tensor(x), tf.convert_to_tensor(y)
        return lambda vector: product(x, y, vector)

    return bind


def compiled(function):
    return tf.function(function)


def with_derivative(program, forward, backward):
    return program


def branches_freely(tensor):
    return True


def either(condition, first, second, variables):
    keras.ops.cond(condition, first, second)


def on_reduced(transform, gradients):
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return transform(gradients)
    present = [tf.convert_to_tensor(g) for g in gradients if g is not None]
    reduced = iter(context.all_reduce(tf.distribute.ReduceOp.SUM, present))
    transformed = transform([None if g is None else next(reduced) for g in gradients])
    # The wrapped optimizer sums over the replicas once more.
    replicas = context.num_replicas_in_sync
    return [None if g is None else g / tf.cast(replicas, g.dtype) for g in transformed]


class TransformedStep(keras.Model):
    def train_step(self, data):
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)

        def gradient(objective, x, y):
            return _gradient_and_outputs(self, objective, x, y)[0]

        x, y = self.transform_batch(x, y, gradient)
        return super().train_step((x, y, sample_weight))


def _gradient_and_outputs(model, objective, x, y):
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(x)
        outputs = model(x, training=False)
        total = tf.reduce_sum(objective(y, outputs))
    # A model that rounds its input away has a gradient too: zero.
    return tape.gradient(total, x, unconnected_gradients="zero"), outputs
