"""The base of optimizer wrappers that change the gradient before the wrapped optimizer sees it."""

import keras
from keras import ops

from keras_dep import _backend


class GradientTransform(keras.optimizers.Optimizer):
    """Base of the wrappers: `transform` maps gradients, `inner_optimizer` updates the weights.

    Learning rate, iterations and loss scaling are those of the inner optimizer, as are clipping,
    weight decay and averaging: set them there. Accumulation belongs here, so that `transform` sees
    the mean of all parts. A `LossScaleOptimizer` changes places with its wrapper, so that `compile`
    finds it outside and does not add another: what is built is `LossScaleOptimizer(wrapper(...))`.

    Args:
        inner_optimizer: a built or unbuilt `keras.optimizers.Optimizer`, or its string name; a
            `LossScaleOptimizer` must be unbuilt.
        gradient_accumulation_steps: `None`, or how many calls add up their gradients before one
            update with the mean of them; at least 2. Schedules and `iterations` count updates.
        name: optional name.

    Raises:
        ValueError: `inner_optimizer` is no Keras optimizer, a built `LossScaleOptimizer`, or
            accumulates gradients itself; fewer than 2 accumulation steps, or accumulation with
            weights that their gradient overwrites.
    """

    def __new__(cls, inner_optimizer=None, *args, **kwargs):
        if isinstance(inner_optimizer, keras.optimizers.LossScaleOptimizer):
            return _with_scaling_outside(cls, inner_optimizer, *args, **kwargs)
        return super().__new__(cls)

    def __init__(self, inner_optimizer, gradient_accumulation_steps=None, name=None):
        if isinstance(inner_optimizer, (str, dict)):
            inner_optimizer = keras.optimizers.get(inner_optimizer)
        if not isinstance(inner_optimizer, keras.optimizers.Optimizer):
            raise ValueError(
                "inner_optimizer must be a keras.optimizers.Optimizer; received "
                f"{inner_optimizer!r}; pass for example keras.optimizers.SGD(0.1)."
            )
        if inner_optimizer.gradient_accumulation_steps:
            raise ValueError(
                "the inner optimizer must not accumulate: it would average parts transformed one "
                "by one; received gradient_accumulation_steps="
                f"{inner_optimizer.gradient_accumulation_steps}; give it to the wrapper instead, "
                f"{type(self).__name__}(..., gradient_accumulation_steps=...)."
            )
        if gradient_accumulation_steps is not None and not gradient_accumulation_steps >= 2:
            raise ValueError(
                "gradient_accumulation_steps must be at least 2, or None for an update per call; "
                f"received {gradient_accumulation_steps}."
            )
        super().__init__(
            learning_rate=0.0, gradient_accumulation_steps=gradient_accumulation_steps, name=name
        )
        self.inner_optimizer = inner_optimizer

    def build(self, variables):
        if self.built:
            return
        if not self.inner_optimizer.built:
            self.inner_optimizer.build(variables)
        if self.gradient_accumulation_steps:
            for variable in variables:
                if getattr(variable, "overwrite_with_gradient", False):
                    raise ValueError(
                        "gradients accumulate only where they are added to weights; received "
                        f"{variable.path}, which its gradient overwrites; use a larger batch."
                    )
        super().build(variables)

    @property
    def variables(self):
        return self._variables + self.inner_optimizer.variables

    def transform(self, gradients, variables):
        """Maps a list of gradients (tensors or `None`) of `variables` to the list passed on."""
        raise NotImplementedError

    def apply(self, grads, trainable_variables=None):
        grads = list(grads)
        if trainable_variables is None:
            variables = self._trainable_variables
        else:
            variables = list(trainable_variables)
            if not self.built:
                self.build(variables)
        if self.gradient_accumulation_steps and grads:
            self._accumulate(grads, variables)
        elif grads:
            self._update(grads, variables)

    def _update(self, gradients, variables):
        gradients = _backend.on_reduced(
            lambda reduced: self.transform(reduced, variables), gradients
        )
        self.inner_optimizer.apply(gradients, variables)

    def _accumulate(self, gradients, variables):
        """Adds the gradients up, and updates with their mean when the last part has come."""
        steps = self.gradient_accumulation_steps
        sums = [
            None if gradient is None else self._accumulated_gradients[self._get_variable_index(v)]
            for gradient, v in zip(gradients, variables)
        ]
        totals = [
            None if total is None else ops.cast(ops.add(gradient, total), total.dtype)
            for gradient, total in zip(gradients, sums)
        ]

        def update():
            means = [None if total is None else total / steps for total in totals]
            self._update(means, variables)
            for total in filter(lambda total: total is not None, sums):
                total.assign(ops.zeros(total.shape, total.dtype))

        def wait():
            for total, value in zip(sums, totals):
                if total is not None:
                    total.assign(value)

        is_last = ops.equal((self._iterations + 1) % steps, 0)
        _backend.either(is_last, update, wait, [*self.variables, *variables])
        self._iterations.assign_add(1)

    @property
    def learning_rate(self):
        return self.inner_optimizer.learning_rate

    @learning_rate.setter
    def learning_rate(self, learning_rate):
        self.inner_optimizer.learning_rate = learning_rate

    @property
    def iterations(self):
        return self.inner_optimizer.iterations

    @property
    def loss_scale_factor(self):
        return self.inner_optimizer.loss_scale_factor

    @loss_scale_factor.setter
    def loss_scale_factor(self, factor):
        # The base constructor assigns its own default before there is an inner optimizer.
        if hasattr(self, "inner_optimizer"):
            self.inner_optimizer.loss_scale_factor = factor

    def scale_loss(self, loss):
        return self.inner_optimizer.scale_loss(loss)

    def finalize_variable_values(self, var_list):
        self.inner_optimizer.finalize_variable_values(var_list)

    def exclude_from_weight_decay(self, var_list=None, var_names=None):
        self.inner_optimizer.exclude_from_weight_decay(var_list, var_names)

    def get_config(self):
        return {
            "name": self.name,
            "gradient_accumulation_steps": self.gradient_accumulation_steps,
            "inner_optimizer": keras.saving.serialize_keras_object(self.inner_optimizer),
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        inner = keras.saving.deserialize_keras_object(
            config["inner_optimizer"], custom_objects=custom_objects
        )
        return cls(**{**config, "inner_optimizer": inner})


def _with_scaling_outside(kind, scaling, *args, **kwargs):
    if scaling.built:
        raise ValueError(
            "a LossScaleOptimizer must not be built to be wrapped, as its scale would be lost; "
            f"received {scaling.name!r}, which is; put it outside: "
            f"LossScaleOptimizer({kind.__name__}(...))."
        )
    wrapper = kind(scaling.inner_optimizer, *args, **kwargs)
    return type(scaling)(**{**scaling.get_config(), "inner_optimizer": wrapper})
