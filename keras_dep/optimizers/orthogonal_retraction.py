"""The weight regularisation of SNN-RAT: a step towards orthogonal outputs after every update."""

from collections.abc import Sequence

import keras
from keras import ops

from keras_dep import deflation
from keras_dep._internal import keras_internals
from keras_dep._internal.export import export
from keras_dep._internal.types import Record
from keras_dep._internal.types import Tensor
from keras_dep.optimizers import plan
from keras_dep.optimizers.base import GradientTransform

# Dense kernels with at least WIDE outputs retract a random share of them.
WIDE, DRAWN_SHARE = 200, 0.3


@export
class OrthogonalRetraction(GradientTransform):
    """Moves every kernel towards orthonormal outputs after the update of the inner optimizer.

    A kernel folded into a matrix `K` with its outputs as columns becomes

        K <- (1 + beta) K - beta K (K^T K)

    which does not change orthonormal columns. For a dense kernel with 200 outputs or more, each
    step draws a random 30 % of the columns and retracts these with one another. Kernels are the
    weights that `DEP(rank_one="remove")` projects, including that of the classifier.

    The released code multiplies all rows of the output, which are the columns here. Weight decay
    works against the retraction: the source sets it to 0 in this mode. The source also projects the
    weights of residual branches; the residual networks here have no such weights.

    Args:
        inner_optimizer: the optimizer to wrap, an instance or a string.
        beta: length of the step, from 0, which changes nothing, to 1. The released code has the
            default 5e-4 in its command and 2e-3 in its function; others used 1e-3 and 4e-3; the
            published value is not known.
        seed: seed of the draws; by default drawn from Keras.
        gradient_accumulation_steps: see `GradientTransform`.
        name: name of the optimizer.

    Raises:
        ValueError: `beta` outside [0, 1], or no Keras optimizer.

    Source: Ding et al., "SNN-RAT", NeurIPS 2022, and its released code.

    Example:

    >>> kernel = keras.Variable([[2.0, 0.0], [0.0, 1.0]])
    >>> optimizer = OrthogonalRetraction(keras.optimizers.SGD(1.0), beta=0.1)
    >>> optimizer.apply([ops.zeros((2, 2))], [kernel])
    >>> [round(float(each), 4) for each in ops.convert_to_numpy(kernel).ravel()]
    [1.4, 0.0, 0.0, 1.0]
    """

    def __init__(
        self,
        inner_optimizer: keras.optimizers.Optimizer | str,
        beta: float = 5e-4,
        seed: int | None = None,
        gradient_accumulation_steps: int | None = None,
        name: str | None = None,
    ) -> None:
        if not 0 <= beta <= 1:
            raise ValueError(f"beta must be in [0, 1]; received {beta}; 0 changes nothing.")
        super().__init__(inner_optimizer, gradient_accumulation_steps, name=name)
        self.beta = beta
        self.seed = seed

    def build_state(self, variables: Sequence[keras.Variable]) -> None:
        entries = plan.plan(variables, "remove", (), {})
        self._kernels = {
            keras_internals.variable_key(self, variable): entry
            for variable, entry in zip(variables, entries)
            if entry.projected
        }
        self._generator = self.add_seed_generator(self.seed)

    def transform(
        self, gradients: Sequence[Tensor | None], variables: Sequence[keras.Variable]
    ) -> Sequence[Tensor | None]:
        return gradients

    def _update(self, gradients: list[Tensor | None], variables: Sequence[keras.Variable]) -> None:
        super()._update(gradients, variables)
        for variable, gradient in zip(variables, gradients):
            entry = self._kernels.get(keras_internals.variable_key(self, variable))
            if self.beta and entry is not None and gradient is not None:
                variable.assign(self._retracted(variable, entry))

    def _retracted(self, variable: keras.Variable, entry: plan.Entry) -> Tensor:
        kernel = ops.reshape(ops.convert_to_tensor(variable), entry.layout)
        outputs = entry.role.outputs or ()
        matrix = deflation.matricise(kernel, outputs)
        matrix = self._step(matrix, drawn=len(entry.shape) == 2 and matrix.shape[1] >= WIDE)
        found = deflation.unmatricise(matrix, entry.layout, outputs)
        return ops.cast(ops.reshape(found, entry.shape), variable.dtype)

    def _step(self, matrix: Tensor, drawn: bool) -> Tensor:
        if not drawn:
            return self._towards_orthonormal(matrix)
        outputs = matrix.shape[1]
        order = ops.argsort(keras.random.uniform((outputs,), seed=self._generator))
        shuffled = ops.take(matrix, order, axis=1)
        count = int(DRAWN_SHARE * outputs)
        changed = [self._towards_orthonormal(shuffled[:, :count]), shuffled[:, count:]]
        return ops.take(ops.concatenate(changed, axis=1), ops.argsort(order), axis=1)

    def _towards_orthonormal(self, matrix: Tensor) -> Tensor:
        products = ops.matmul(ops.transpose(matrix), matrix)
        return (1 + self.beta) * matrix - self.beta * ops.matmul(matrix, products)

    def get_config(self) -> Record:
        return {**super().get_config(), "beta": self.beta, "seed": self.seed}
