"""Dominant Eigencomponent Projection around any Keras optimizer."""

import re
import warnings

from keras import ops

from keras_dep import deflation
from keras_dep._export import export
from keras_dep.optimizers.transform import GradientTransform

RANK_ONE = ("keep", "remove")
# The two factors that Keras adds to a layer for low-rank adaptation.
LOW_RANK_FACTOR = re.compile(r"lora_\w+_[ab]$")


@export
class DEP(GradientTransform):
    """Dominant Eigencomponent Projection around any Keras optimizer.

    Once per update, every weight gradient is folded into a matrix with the outputs as columns and
    loses its leading singular component, `G - s_1 u_1 v_1^T`; the inner optimizer receives the
    rest. There is no hyperparameter. The step stays a descent direction: its inner product with the
    gradient is the squared norm of what remains.

    What that does not promise: the curvature of the loss at the current weights is unchanged, and
    that the component removed is the sharpest direction is an assumption of the paper, not a
    theorem. Moments, weight decay and clipping of the inner optimizer act after the projection and
    are not projected themselves; kernel regularisers enter the loss and are.

    Vectors and scalars (biases, normalisation) are never touched, nor are the factors of low-rank
    adaptation and weights that their gradient overwrites (quantisation). Kernels are folded by all
    axes but the last. Depthwise kernels `(kh, kw, channels, multiplier)` count outputs in their
    last two axes and are recognised by their path. Sparse gradients become dense.

    A gradient of rank one would be wiped out, and its weight never learn. That is any matrix with
    one row or column, and the kernel of a softmax head over two classes: its rank is at most the
    number of classes less one. So kernels with a side of 1 or 2 are left alone unless asked
    otherwise, and a warning names them once. A batch of one image gives every dense layer a
    gradient of rank one too; this one is removed.

    Replicas: under `tf.distribute` gradients are reduced before the projection; there accumulation
    is refused, as TensorFlow has replicas meet for an update in no branch. On JAX
    `keras.distribution` hands reduced ones over; inside a `pmap` or `shard_map` of your own, take
    the mean first. torch's `fit` has no replicas: start a loop of your own with `torchrun
    --nproc-per-node=2 train.py`, wrap the model in `DistributedDataParallel`, which averages during
    `backward`, and call `optimizer.apply([v.value.grad for v in weights], weights)`.

    After each step two variables hold a number per projected weight, in the order of
    `projected_paths`: `removed_energy` the share in [0, 1] of the squared gradient norm that was
    removed, `leading_value` the singular value `s_1` itself. Both are 0 where there was nothing. On
    JAX a callback that reads them within an epoch calls `self.model.jax_state_sync()` first.

    Args:
        inner_optimizer: the optimizer to wrap, an instance or a string.
        rank_one: `"keep"` leaves kernels with a side of 1 or 2 as they are; `"remove"` follows the
            paper's released code and projects them too.
        gradient_accumulation_steps: `None`, or the number of calls whose mean gradient is projected
            and applied once; set it here and not in the inner optimizer.
        exclude: what to leave alone: regular expressions searched in `variable.path`, or variables;
            one of them or a sequence.
        depthwise: regular expression searched in `variable.path`; matching kernels of rank 4 are
            folded as depthwise.
        name: optional name.

    Raises:
        ValueError: `inner_optimizer` is no Keras optimizer or accumulates gradients, an unknown
            `rank_one`, or something to exclude that is neither a regular expression nor a variable.

    Source: arXiv 2505.11134, Eq. 12 to 15 (as Dominant Singular Deflation at ICLR 2026).

    Example:

    >>> import keras
    >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
    >>> model.compile(optimizer=DEP(keras.optimizers.SGD(0.1)), loss="mse")
    >>> model.optimizer.rank_one
    'keep'

    Any network will do, here a ResNet without a spike, with gradients added up over four calls:

    >>> network = keras.applications.ResNet50(weights=None, input_shape=(32, 32, 3), classes=10)
    >>> adam = keras.optimizers.Adam(1e-3, global_clipnorm=1.0)
    >>> network.compile(DEP(adam, gradient_accumulation_steps=4), "sparse_categorical_crossentropy")
    """

    def __init__(
        self,
        inner_optimizer,
        rank_one="keep",
        exclude=(),
        depthwise="depthwise",
        gradient_accumulation_steps=None,
        name=None,
    ):
        if rank_one not in RANK_ONE:
            raise ValueError(
                f"rank_one must be one of {', '.join(RANK_ONE)}; received {rank_one!r}."
            )
        super().__init__(inner_optimizer, gradient_accumulation_steps, name=name)
        self.rank_one = rank_one
        single = isinstance(exclude, str) or hasattr(exclude, "path")
        self.exclude = tuple(map(_path_pattern, [exclude] if single else exclude))
        self.depthwise = depthwise

    def build(self, variables):
        if self.built:
            return
        weights = [variable for variable in variables if not self._is_excluded(variable)]
        projected = [v for v in weights if self.rank_one == "remove" or self._least_side(v) > 2]
        if kept := sorted({v.path for v in weights} - {v.path for v in projected}):
            warnings.warn(
                f"DEP leaves {', '.join(kept)} as they are: with a side of 1 or 2 the gradient may "
                'have rank one and would be wiped out; rank_one="remove" projects them too.',
                stacklevel=2,
            )
        self._output_axes = {self._var_key(v): self._count_output_axes(v) for v in projected}
        self.projected_paths = tuple(variable.path for variable in projected)
        self.removed_energy, self.leading_value = (
            self.add_variable(
                shape=(len(self._output_axes),),
                dtype="float32",
                aggregation="only_first_replica",
                name=name,
            )
            for name in ("removed_energy", "leading_value")
        )
        super().build(variables)

    def transform(self, gradients, variables):
        gradients = list(gradients)
        axes = [self._output_axes.get(self._var_key(variable)) for variable in variables]
        chosen = [
            index
            for index, gradient in enumerate(gradients)
            if gradient is not None and axes[index] is not None
        ]
        deflated = deflation.deflate_all(
            [ops.convert_to_tensor(gradients[index]) for index in chosen],
            [axes[index] for index in chosen],
        )
        zero = ops.zeros((), "float32")
        shares, values = (dict.fromkeys(self._output_axes, zero) for _ in range(2))
        for index, (rest, share, value) in zip(chosen, deflated):
            gradients[index] = rest
            key = self._var_key(variables[index])
            shares[key], values[key] = share, value
        if shares:
            self.removed_energy.assign(ops.stack(list(shares.values())))
            self.leading_value.assign(ops.stack(list(values.values())))
        return gradients

    def _is_excluded(self, variable):
        return (
            len(variable.shape) < 2
            or getattr(variable, "overwrite_with_gradient", False)
            or LOW_RANK_FACTOR.search(variable.path)
            or any(re.search(pattern, variable.path) for pattern in self.exclude)
        )

    def _least_side(self, variable):
        return min(deflation.matrix_shape(variable.shape, self._count_output_axes(variable)))

    def _count_output_axes(self, variable):
        return 2 if len(variable.shape) == 4 and re.search(self.depthwise, variable.path) else 1

    def get_config(self):
        return {
            **super().get_config(),
            "rank_one": self.rank_one,
            "exclude": list(self.exclude),
            "depthwise": self.depthwise,
        }


def _path_pattern(item):
    """A regular expression for the path of what is to be excluded."""
    if hasattr(item, "path"):
        return f"^{re.escape(item.path)}$"
    try:
        return re.compile(item).pattern
    except (re.error, TypeError) as error:
        raise ValueError(
            f"exclude must hold regular expressions or variables; received {item!r} ({error}); "
            'write for example exclude="head/kernel".'
        ) from error
