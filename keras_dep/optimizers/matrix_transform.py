"""The base of optimizer wrappers that change weight gradients as matrices."""

import re
import warnings
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import TypeAlias

import keras
from keras import ops

from keras_dep._internal import keras_internals
from keras_dep._internal import validation
from keras_dep._internal.types import Record
from keras_dep._internal.types import Tensor
from keras_dep.deflation.projection import OutputAxes
from keras_dep.optimizers import plan
from keras_dep.optimizers.base import GradientTransform

RANK_ONE = ("keep", "remove")
# Regular expressions for paths, or variables; one or several.
Exclude: TypeAlias = str | keras.Variable | Sequence[str | keras.Variable]


class MatrixTransform(GradientTransform):
    """Base of the wrappers that change the gradients of kernels, folded into matrices.

    It selects the weights and their matrices, as described at `keras_dep.DEP`. A subclass overrides
    `transform_matrices`, and names in `RECORDS` the numbers per weight that it returns; each is
    kept in a float32 variable of that name, `(projected weights,)`, in the order of
    `projected_paths`, and is 0 for weights without a gradient.

    Args:
        inner_optimizer: see `GradientTransform`.
        rank_one: see `keras_dep.DEP`, as for `exclude` and `output_axes`.
        exclude: weights to leave unchanged.
        output_axes: output axes of weights of your own layers.
        gradient_accumulation_steps: see `GradientTransform`.
        name: name of the optimizer.

    Attributes:
        projected_paths: paths of the weights whose gradients are changed; set by `build`.

    Raises:
        ValueError: see `keras_dep.DEP`.

    Example:

    >>> class SignOfMatrices(MatrixTransform):
    ...     def transform_matrices(self, gradients, output_axes):
    ...         return [(ops.sign(gradient),) for gradient in gradients]
    >>> weight = keras.Variable([[1.0] * 3] * 3)
    >>> SignOfMatrices(keras.optimizers.SGD(0.5)).apply([4 * ops.ones((3, 3))], [weight])
    >>> float(weight[0, 0])
    0.5
    """

    RECORDS: tuple[str, ...] = ()
    projected_paths: tuple[str, ...]

    def __init__(
        self,
        inner_optimizer: keras.optimizers.Optimizer | str,
        rank_one: str = "keep",
        exclude: Exclude = (),
        output_axes: Mapping[str, OutputAxes] | None = None,
        gradient_accumulation_steps: int | None = None,
        name: str | None = None,
    ) -> None:
        validation.one_of("rank_one", rank_one, RANK_ONE)
        super().__init__(inner_optimizer, gradient_accumulation_steps, name=name)
        self.rank_one = rank_one
        is_single = isinstance(exclude, str) or hasattr(exclude, "path")
        self.exclude = tuple(map(_path_pattern, [exclude] if is_single else exclude))
        self.output_axes = {
            _path_pattern(pattern): axes if isinstance(axes, int) else tuple(axes)
            for pattern, axes in (output_axes or {}).items()
        }

    def build_state(self, variables: Sequence[keras.Variable]) -> None:
        entries = plan.plan(variables, self.rank_one, self.exclude, self.output_axes)
        if kept := sorted(entry.path for entry in entries if entry.is_kept):
            warnings.warn(
                f"{type(self).__name__} does not project {', '.join(kept)}: with a side of 1 or 2 "
                "the whole gradient may have rank one and would be removed; pass "
                'rank_one="remove" to project them too.',
                stacklevel=3,
            )
        # Keras and TensorFlow would wrap lists.
        self._keys = tuple(keras_internals.variable_key(self, variable) for variable in variables)
        self._entries = tuple(entries)
        self.projected_paths = tuple(entry.path for entry in entries if entry.projected)
        for name in self.RECORDS:
            record = self.add_variable(
                shape=(len(self.projected_paths),),
                dtype="float32",
                aggregation="only_first_replica",
                name=name,
            )
            setattr(self, name, record)

    def transform_matrices(
        self, gradients: Sequence[Tensor], output_axes: Sequence[OutputAxes]
    ) -> Sequence[tuple[Tensor, ...]]:
        """Maps the gradients of the projected weights.

        Args:
            gradients: tensors of rank 2 or more.
            output_axes: for each, the axes that count outputs; see
                `keras_dep.deflation.matricise`, which folds a gradient by them.

        Returns:
            For each gradient a tensor like it, followed by a scalar for each name in `RECORDS`.

        Raises:
            NotImplementedError: a subclass does not override it.
        """
        raise NotImplementedError(f"{type(self).__name__} must override transform_matrices.")

    def transform(
        self, gradients: Sequence[Tensor | None], variables: Sequence[keras.Variable]
    ) -> list[Tensor | None]:
        results = list(gradients)
        projected = {key: entry for key, entry in zip(self._keys, self._entries) if entry.projected}
        keys = [keras_internals.variable_key(self, variable) for variable in variables]
        chosen = [
            (index, key, projected[key])
            for index, (key, gradient) in enumerate(zip(keys, gradients))
            if gradient is not None and key in projected
        ]
        transformed = self.transform_matrices(
            [
                ops.reshape(ops.convert_to_tensor(gradients[index]), entry.layout)
                for index, _, entry in chosen
            ],
            [entry.role.outputs for *_, entry in chosen if entry.role.outputs is not None],
        )
        zero = ops.zeros((), "float32")
        numbers = {name: dict.fromkeys(projected, zero) for name in self.RECORDS}
        for (index, key, entry), (result, *found) in zip(chosen, transformed):
            results[index] = ops.reshape(result, entry.shape)
            for name, number in zip(self.RECORDS, found):
                numbers[name][key] = number
        if projected:
            for name, by_key in numbers.items():
                getattr(self, name).assign(ops.stack(list(by_key.values())))
        return results

    def summary(self, print_fn: Callable[[str], object] = print) -> None:
        """Prints a table of all weights: shape, whether projected, as which matrix, and why.

        Args:
            print_fn: function of the text.

        Raises:
            ValueError: the optimizer is not built.

        Example:

        >>> import keras_dep
        >>> head = keras.layers.Dense(4, name="head")
        >>> head.build((None, 8))
        >>> optimizer = keras_dep.DEP("sgd")
        >>> optimizer.build(head.trainable_variables)
        >>> optimizer.summary()
        weight       shape  projected  matrix  why
        -----------  -----  ---------  ------  ---------------
        head/kernel  8 x 4  yes        8 x 4   kernel of Dense
        head/bias    4      no         -       bias of Dense
        """
        if not self.built:
            raise ValueError(
                "summary() needs a built optimizer; received an unbuilt one; call "
                "optimizer.build(model.trainable_variables) first."
            )
        print_fn(plan.table(self._entries))

    def get_config(self) -> Record:
        return {
            **super().get_config(),
            "rank_one": self.rank_one,
            "exclude": list(self.exclude),
            "output_axes": {
                pattern: axes if isinstance(axes, int) else list(axes)
                for pattern, axes in self.output_axes.items()
            },
        }


def _path_pattern(item: str | keras.Variable) -> str:
    """The regular expression of a path, given that or a variable."""
    if hasattr(item, "path"):
        return f"^{re.escape(item.path)}$"
    try:
        return re.compile(item).pattern
    except (re.error, TypeError) as error:
        raise ValueError(
            f"exclude must hold regular expressions or variables; received {item!r} ({error}); "
            'write for example exclude="head/kernel".'
        ) from error
