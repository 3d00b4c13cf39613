"""The base of optimizer wrappers that change the gradient before the wrapped optimizer sees it."""

import warnings

import keras
from keras import ops

from keras_dep import _backend
from keras_dep._internal import keras_internals


class OfInner:
    """An attribute that the wrapper shares with its inner optimizer."""

    def __set_name__(self, kind, name):
        self.name = name

    def __get__(self, optimizer, kind=None):
        return self if optimizer is None else getattr(optimizer.inner_optimizer, self.name)

    def __set__(self, optimizer, value):
        # The base constructor assigns its defaults before there is an inner optimizer.
        if "inner_optimizer" in vars(optimizer):
            setattr(optimizer.inner_optimizer, self.name, value)


class GradientTransform(keras_internals.AveragesOfInner, keras.optimizers.Optimizer):
    """Base of the wrappers: `transform` maps gradients, `inner_optimizer` updates the weights.

    Learning rate, iterations and loss scaling are those of the inner optimizer, as are clipping,
    weight decay and averaging: what is read or set here is read or set there. Accumulation belongs
    here, so that `transform` sees the mean of all parts. A `LossScaleOptimizer` belongs outside,
    `LossScaleOptimizer(wrapper(...))`: there `compile` finds it and does not add another, and the
    wrapper sees gradients that are unscaled and finite.

    Args:
        inner_optimizer: a built or unbuilt `keras.optimizers.Optimizer`, or its string name.
        gradient_accumulation_steps: `None`, or how many calls add up their gradients before one
            update with the mean of them; at least 2. Schedules and `iterations` count updates.
        name: optional name.

    Raises:
        ValueError: `inner_optimizer` is no Keras optimizer, a `LossScaleOptimizer`, or accumulates
            gradients itself; fewer than 2 accumulation steps, or accumulation with weights that
            their gradient overwrites.
    """

    learning_rate = OfInner()
    iterations = OfInner()
    loss_scale_factor = OfInner()
    weight_decay = OfInner()
    clipnorm = OfInner()
    clipvalue = OfInner()
    global_clipnorm = OfInner()
    ema_momentum = OfInner()
    ema_overwrite_frequency = OfInner()
    # Of a `MultiOptimizer`.
    optimizers = OfInner()
    _is_building = False

    def __init__(self, inner_optimizer, gradient_accumulation_steps=None, name=None):
        if isinstance(inner_optimizer, (str, dict)):
            inner_optimizer = keras.optimizers.get(inner_optimizer)
        if not isinstance(inner_optimizer, keras.optimizers.Optimizer):
            raise ValueError(
                "inner_optimizer must be a keras.optimizers.Optimizer; received "
                f"{inner_optimizer!r}; pass for example keras.optimizers.SGD(0.1)."
            )
        if isinstance(inner_optimizer, keras.optimizers.LossScaleOptimizer):
            raise ValueError(
                "inner_optimizer must not scale the loss, as compile() would add a second scale; "
                f"received {type(inner_optimizer).__name__}; put it outside: "
                f"LossScaleOptimizer({type(self).__name__}(...))."
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
        self._is_building = True
        super().build(variables)
        self._is_building = False

    @property
    def use_ema(self):
        """Whether the inner optimizer averages weights."""
        # The base would build averages of its own.
        return not self._is_building and self.inner_optimizer.use_ema

    @use_ema.setter
    def use_ema(self, use_ema):
        if "inner_optimizer" in vars(self):
            self.inner_optimizer.use_ema = use_ema

    @property
    def variables(self):
        return keras_internals.own_variables(self) + self.inner_optimizer.variables

    def transform(self, gradients, variables):
        """Maps a list of gradients (tensors or `None`) of `variables` to the list passed on."""
        raise NotImplementedError

    def apply(self, grads, trainable_variables=None):
        grads = list(grads)
        if trainable_variables is None:
            if not self.built:
                raise ValueError(
                    "apply() must be given variables as long as the optimizer is not built; "
                    "received gradients alone; call build(model.trainable_variables) first."
                )
            variables = keras_internals.trained_variables(self)
        else:
            variables = list(trainable_variables)
            if not self.built:
                self.build(variables)
        if grads and len(grads) != len(variables):
            raise ValueError(
                "apply() must be given a gradient, or None, for each variable; received "
                f"{len(grads)} gradients for {len(variables)} variables."
            )
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
            None if gradient is None else keras_internals.accumulated_gradient(self, v)
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

        count = keras_internals.call_count(self)
        is_last = ops.equal((count + 1) % steps, 0)
        _backend.conditional_assign(is_last, update, wait, [*self.variables, *variables])
        count.assign_add(1)

    def apply_gradients(self, grads_and_vars):
        super().apply_gradients(grads_and_vars)
        return self.iterations

    def scale_loss(self, loss):
        return self.inner_optimizer.scale_loss(loss)

    def finalize_variable_values(self, var_list):
        self.inner_optimizer.finalize_variable_values(var_list)

    def exclude_from_weight_decay(self, var_list=None, var_names=None):
        self.inner_optimizer.exclude_from_weight_decay(var_list, var_names)

    def set_weights(self, weights):
        if not self.built or len(weights) != len(self.variables):
            raise ValueError(
                f"set_weights() must be given a value for each of the {len(self.variables)} "
                f"variables of a built optimizer; received {len(weights)} while "
                f"built={self.built}; call build(model.trainable_variables) first."
            )
        for variable, value in zip(self.variables, weights):
            variable.assign(value)

    # The inner optimizer saves and loads its own variables.
    def save_own_variables(self, store):
        for index, variable in enumerate(keras_internals.own_variables(self)):
            store[str(index)] = ops.convert_to_numpy(variable)

    def load_own_variables(self, store):
        own = keras_internals.own_variables(self)
        # Files of version 0.1.0 hold the inner optimizer's here as well, behind.
        if len(store.keys()) not in (len(own), len(self.variables)):
            warnings.warn(
                f"The state of {self.name} stays as it is: it has {len(own)} variables "
                f"and the file {len(store.keys())}; build the optimizer before it is loaded.",
                stacklevel=2,
            )
            return
        for index, variable in enumerate(own):
            value = store[str(index)]
            if tuple(value.shape) == tuple(variable.shape):
                variable.assign(value)
            else:
                warnings.warn(
                    f"{variable.path} stays as it is: it has the shape {tuple(variable.shape)} and "
                    f"the file {tuple(value.shape)}, as other weights were projected then.",
                    stacklevel=2,
                )

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
