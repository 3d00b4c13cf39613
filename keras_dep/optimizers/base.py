"""The base of optimizer wrappers that change the gradient before the wrapped optimizer sees it."""

import warnings
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import MutableMapping
from collections.abc import Sequence
from typing import Any
from typing import Self

import keras
from keras import ops

from keras_dep import _backend
from keras_dep._internal import keras_internals
from keras_dep._internal.types import Array
from keras_dep._internal.types import Record
from keras_dep._internal.types import Tensor


class InnerAttribute:
    """An attribute of a wrapper that is read and set on its inner optimizer."""

    def __set_name__(self, kind: type, name: str) -> None:
        self.name = name

    def __get__(self, optimizer: Any, kind: type | None = None) -> Any:
        return self if optimizer is None else getattr(optimizer.inner_optimizer, self.name)

    def __set__(self, optimizer: Any, value: Any) -> None:
        # The base constructor assigns its defaults before there is an inner optimizer.
        if "inner_optimizer" in vars(optimizer):
            setattr(optimizer.inner_optimizer, self.name, value)


class GradientTransform(keras_internals.AveragesOfInner, keras.optimizers.Optimizer):
    """Base of optimizer wrappers: changes the gradients, then lets `inner_optimizer` update.

    A subclass overrides `transform_gradient`, which gets one gradient at a time, or `transform`,
    which gets all of them. State across steps is added in `build_state`, and arguments of the
    constructor are added to `get_config`. The rest is done here: saving and loading, compiled and
    distributed training, mixed precision, gradient accumulation.

    Learning rate, iterations, loss scale, clipping, weight decay and weight averaging belong to the
    inner optimizer: reading or setting them here reads or sets them there. Gradient accumulation
    belongs to the wrapper, so that `transform` gets the mean over all parts. A `LossScaleOptimizer`
    goes outside, `LossScaleOptimizer(wrapper(...))`: there `compile` finds it and adds no second
    one, and the wrapper gets unscaled, finite gradients.

    Args:
        inner_optimizer: a built or unbuilt `keras.optimizers.Optimizer`, or its string name.
        gradient_accumulation_steps: number of calls whose mean gradient makes one update, at least
            2; `None` for an update per call. Schedules and `iterations` count updates.
        name: name of the optimizer.

    Raises:
        ValueError: `inner_optimizer` is no Keras optimizer, is a `LossScaleOptimizer`, or
            accumulates gradients itself; fewer than 2 accumulation steps; accumulation with weights
            that are overwritten by their gradient.

    Example:

    >>> import keras
    >>> class Clip(GradientTransform):
    ...     def transform_gradient(self, gradient, variable):
    ...         return ops.clip(gradient, -1.0, 1.0)
    >>> weight = keras.Variable([0.0, 0.0])
    >>> Clip(keras.optimizers.SGD(0.5)).apply([ops.array([0.5, -4.0])], [weight])
    >>> ops.convert_to_numpy(weight).tolist()
    [-0.25, 0.5]

    With state that is saved with the optimizer, and one random draw per gradient and step:

    >>> class Noise(GradientTransform):
    ...     def build_state(self, variables):
    ...         self.generator = self.add_seed_generator(0)
    ...         self.sums = [self.add_variable_from_reference(v, "sum") for v in variables]
    ...
    ...     def transform_gradient(self, gradient, variable):
    ...         noise = keras.random.normal(gradient.shape, seed=self.generator)
    ...         self.sums[self.index_of(variable)].assign_add(noise)
    ...         return gradient + noise
    """

    learning_rate = InnerAttribute()
    iterations = InnerAttribute()
    loss_scale_factor = InnerAttribute()
    weight_decay = InnerAttribute()
    clipnorm = InnerAttribute()
    clipvalue = InnerAttribute()
    global_clipnorm = InnerAttribute()
    ema_momentum = InnerAttribute()
    ema_overwrite_frequency = InnerAttribute()
    # Of a `MultiOptimizer`.
    optimizers = InnerAttribute()
    _is_building = False

    def __init__(
        self,
        inner_optimizer: keras.optimizers.Optimizer | str,
        gradient_accumulation_steps: int | None = None,
        name: str | None = None,
    ) -> None:
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

    def build(self, variables: Sequence[keras.Variable]) -> None:
        if self.built:
            return
        self.build_state(variables)
        if not self.inner_optimizer.built:
            self.inner_optimizer.build(variables)
        if self.gradient_accumulation_steps:
            for variable in variables:
                if getattr(variable, "overwrite_with_gradient", False):
                    raise ValueError(
                        "gradient_accumulation_steps needs gradients that are added to weights; "
                        f"received {variable.path}, which its gradient overwrites; use a larger "
                        "batch."
                    )
        self._is_building = True
        super().build(variables)
        self._is_building = False

    @property
    def use_ema(self) -> bool:
        """Whether the inner optimizer averages weights."""
        # Otherwise the base class would build averages of its own.
        return not self._is_building and self.inner_optimizer.use_ema

    @use_ema.setter
    def use_ema(self, use_ema: bool) -> None:
        if "inner_optimizer" in vars(self):
            self.inner_optimizer.use_ema = use_ema

    @property
    def variables(self) -> list[keras.Variable]:
        """The variables of the transform, followed by those of the inner optimizer."""
        return keras_internals.own_variables(self) + self.inner_optimizer.variables

    def build_state(self, variables: Sequence[keras.Variable]) -> None:
        """Adds the variables of the transform; called once, when the optimizer is built.

        Use `add_variable`, `add_variable_from_reference` and `add_seed_generator`. The default adds
        none.

        Args:
            variables: the variables that the optimizer trains.
        """

    def transform(
        self, gradients: Sequence[Tensor | None], variables: Sequence[keras.Variable]
    ) -> Sequence[Tensor | None]:
        """Maps the gradients of a step to those that the inner optimizer gets.

        The default maps each by `transform_gradient`.

        Args:
            gradients: a tensor of the variable's shape, or `None`, for each variable; already
                reduced over replicas and averaged over accumulated calls.
            variables: the variables, all or some of those that the optimizer was built on.

        Returns:
            As many gradients, in the same order.
        """
        return [
            None if gradient is None else self.transform_gradient(gradient, variable)
            for gradient, variable in zip(gradients, variables)
        ]

    def transform_gradient(self, gradient: Tensor, variable: keras.Variable) -> Tensor:
        """Maps one gradient; the default `transform` calls it for each that is not `None`.

        Args:
            gradient: tensor of the variable's shape.
            variable: the variable.

        Returns:
            Tensor like `gradient`.

        Raises:
            NotImplementedError: a subclass overrides neither this nor `transform`.
        """
        raise NotImplementedError(
            f"{type(self).__name__} must override transform_gradient or transform."
        )

    def index_of(self, variable: keras.Variable) -> int:
        """Index of a variable among those that the optimizer was built on.

        Args:
            variable: a variable given to `transform`, on any replica.

        Returns:
            Its index in the `variables` of `build_state`.
        """
        return keras_internals.variable_index(self, variable)

    def add_seed_generator(self, seed: int | None = None) -> keras.random.SeedGenerator:
        """Adds a generator for `keras.random` whose state belongs to the optimizer's variables.

        A loaded or resumed optimizer then continues the sequence of draws.

        Args:
            seed: seed of the generator; `None` draws one from Keras' global state.

        Returns:
            The generator.
        """
        generator = keras.random.SeedGenerator(seed)
        keras_internals.track_variable(self, generator.state)
        return generator

    def apply(
        self,
        grads: Iterable[Tensor | None],
        trainable_variables: Iterable[keras.Variable] | None = None,
    ) -> None:
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

    def _update(self, gradients: list[Tensor | None], variables: Sequence[keras.Variable]) -> None:
        transformed = _backend.on_reduced(
            lambda reduced: self.transform(reduced, variables), gradients
        )
        # The inner optimizer may be a wrapper too.
        with _backend.reduced_already():
            self.inner_optimizer.apply(transformed, variables)

    def _accumulate(
        self, gradients: list[Tensor | None], variables: Sequence[keras.Variable]
    ) -> None:
        """Adds the gradients up; the last call of a cycle updates with their mean."""
        steps = self.gradient_accumulation_steps
        sums = [
            None if gradient is None else keras_internals.accumulated_gradient(self, v)
            for gradient, v in zip(gradients, variables)
        ]
        totals = [
            None if total is None else ops.cast(ops.add(gradient, total), total.dtype)
            for gradient, total in zip(gradients, sums)
        ]

        def update() -> None:
            means = [None if total is None else total / steps for total in totals]
            self._update(means, variables)
            for total in sums:
                if total is not None:
                    total.assign(ops.zeros(total.shape, total.dtype))

        def wait() -> None:
            for total, value in zip(sums, totals):
                if total is not None:
                    total.assign(value)

        count = keras_internals.call_count(self)
        is_last = ops.equal((count + 1) % steps, 0)
        _backend.conditional_assign(is_last, update, wait, [*self.variables, *variables])
        count.assign_add(1)

    def apply_gradients(
        self, grads_and_vars: Iterable[tuple[Tensor | None, keras.Variable]]
    ) -> Tensor:
        super().apply_gradients(grads_and_vars)
        return self.iterations

    def scale_loss(self, loss: Tensor) -> Tensor:
        return self.inner_optimizer.scale_loss(loss)

    def finalize_variable_values(self, var_list: Sequence[keras.Variable]) -> None:
        self.inner_optimizer.finalize_variable_values(var_list)

    def exclude_from_weight_decay(
        self,
        var_list: Sequence[keras.Variable] | None = None,
        var_names: Sequence[str] | None = None,
    ) -> None:
        self.inner_optimizer.exclude_from_weight_decay(var_list, var_names)

    def set_weights(self, weights: Sequence[Array]) -> None:
        if not self.built or len(weights) != len(self.variables):
            raise ValueError(
                f"set_weights() must be given a value for each of the {len(self.variables)} "
                f"variables of a built optimizer; received {len(weights)} while "
                f"built={self.built}; call build(model.trainable_variables) first."
            )
        for variable, value in zip(self.variables, weights):
            variable.assign(value)

    # The inner optimizer saves and loads its own variables.
    def save_own_variables(self, store: MutableMapping[str, Any]) -> None:
        for index, variable in enumerate(keras_internals.own_variables(self)):
            store[str(index)] = ops.convert_to_numpy(variable)

    def load_own_variables(self, store: Mapping[str, Any]) -> None:
        own = keras_internals.own_variables(self)
        # Files of version 0.1.0 hold the variables of the inner optimizer here too, at the end.
        if len(store.keys()) not in (len(own), len(self.variables)):
            warnings.warn(
                f"The state of {self.name} is not loaded: it has {len(own)} variables and the file "
                f"{len(store.keys())}; build the optimizer before loading.",
                stacklevel=2,
            )
            return
        for index, variable in enumerate(own):
            value = store[str(index)]
            if tuple(value.shape) == tuple(variable.shape):
                variable.assign(value)
            else:
                warnings.warn(
                    f"{variable.path} is not loaded: it has the shape {tuple(variable.shape)} and "
                    f"the file {tuple(value.shape)}, which was saved with other projected weights.",
                    stacklevel=2,
                )

    def get_config(self) -> Record:
        return {
            "name": self.name,
            "gradient_accumulation_steps": self.gradient_accumulation_steps,
            "inner_optimizer": keras.saving.serialize_keras_object(self.inner_optimizer),
        }

    @classmethod
    def from_config(cls, config: Record, custom_objects: Record | None = None) -> Self:
        inner = keras.saving.deserialize_keras_object(
            config["inner_optimizer"], custom_objects=custom_objects
        )
        return cls(**{**config, "inner_optimizer": inner})
