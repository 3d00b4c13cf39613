"""Optimizer wrappers that change the gradient before the wrapped optimizer sees it."""

import math
import re
import warnings

import keras
from keras import ops

from keras_dep import _backend
from keras_dep import deflation
from keras_dep._export import export

RANK_ONE = ("keep", "remove")
# The two factors that Keras adds to a layer for low-rank adaptation.
LOW_RANK_FACTOR = re.compile(r"lora_\w+_[ab]$")


class GradientTransform(keras.optimizers.Optimizer):
    """Base of the wrappers: `transform` maps gradients, `inner_optimizer` updates the weights.

    Learning rate, iterations and loss scaling are those of the inner optimizer, as are clipping,
    weight decay, averaging and accumulation: set them there.

    Args:
        inner_optimizer: a built or unbuilt `keras.optimizers.Optimizer`, or its string name.
        name: optional name.

    Raises:
        ValueError: `inner_optimizer` is no Keras optimizer, or accumulates gradients.
    """

    def __init__(self, inner_optimizer, name=None):
        if isinstance(inner_optimizer, (str, dict)):
            inner_optimizer = keras.optimizers.get(inner_optimizer)
        if not isinstance(inner_optimizer, keras.optimizers.Optimizer):
            raise ValueError(
                "inner_optimizer must be a keras.optimizers.Optimizer; received "
                f"{inner_optimizer!r}; pass for example keras.optimizers.SGD(0.1)."
            )
        if inner_optimizer.gradient_accumulation_steps:
            raise ValueError(
                "gradient_accumulation_steps averages after the projection of each part, which is "
                "not the projection of the average; received "
                f"{inner_optimizer.gradient_accumulation_steps}; use a larger batch instead."
            )
        super().__init__(learning_rate=0.0, name=name)
        self.inner_optimizer = inner_optimizer

    def build(self, variables):
        if self.built:
            return
        if not self.inner_optimizer.built:
            self.inner_optimizer.build(variables)
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
        if grads:
            grads = _backend.on_reduced(lambda reduced: self.transform(reduced, variables), grads)
        self.inner_optimizer.apply(grads, trainable_variables)

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
            "inner_optimizer": keras.saving.serialize_keras_object(self.inner_optimizer),
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        inner = keras.saving.deserialize_keras_object(
            config["inner_optimizer"], custom_objects=custom_objects
        )
        return cls(**{**config, "inner_optimizer": inner})


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

    Replicas: under `tf.distribute` gradients are reduced before the projection. On JAX
    `keras.distribution` hands reduced ones over; inside a `pmap` or `shard_map` of your own, take
    the mean first. torch's `fit` has no replicas: start a loop of your own with `torchrun
    --nproc-per-node=2 train.py`, wrap the model in `DistributedDataParallel`, which averages during
    `backward`, and call `optimizer.apply([v.value.grad for v in weights], weights)`.

    After each step `removed_energy` holds, per projected variable in the order of
    `projected_paths`, the share in [0, 1] of the squared gradient norm that was removed.

    Args:
        inner_optimizer: the optimizer to wrap, an instance or a string.
        rank_one: `"keep"` leaves kernels with a side of 1 or 2 as they are; `"remove"` follows the
            paper's released code and projects them too.
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

    >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
    >>> model.compile(optimizer=DEP(keras.optimizers.SGD(0.1)), loss="mse")
    >>> model.optimizer.rank_one
    'keep'
    """

    def __init__(
        self, inner_optimizer, rank_one="keep", exclude=(), depthwise="depthwise", name=None
    ):
        if rank_one not in RANK_ONE:
            raise ValueError(
                f"rank_one must be one of {', '.join(RANK_ONE)}; received {rank_one!r}."
            )
        super().__init__(inner_optimizer, name=name)
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
        self.removed_energy = self.add_variable(
            shape=(len(self._output_axes),),
            dtype="float32",
            aggregation="only_first_replica",
            name="removed_energy",
        )
        super().build(variables)

    def transform(self, gradients, variables):
        passed, removed = [], []
        for gradient, variable in zip(gradients, variables):
            axes = self._output_axes.get(self._var_key(variable))
            if axes is not None and gradient is not None:
                gradient, share = deflation.deflate(ops.convert_to_tensor(gradient), axes)
                removed.append(share)
            elif axes is not None:
                removed.append(ops.zeros((), "float32"))
            passed.append(gradient)
        if len(removed) == len(self._output_axes) and removed:
            self.removed_energy.assign(ops.stack(removed))
        return passed

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


@export
class CoupledWeightDecay(GradientTransform):
    """Adds `weight_decay * w` to the gradient of every trainable weight, as torch's optimizers do.

    Keras' own `weight_decay` is decoupled: it shrinks weights by `lr * wd` a step, outside the
    momentum. Added to the gradient, as in the paper's code, the same number acts through the
    momentum, with 0.9 about ten times as strongly. Inside `DEP` the term is not projected:
    `DEP(CoupledWeightDecay(SGD(0.1, momentum=0.9), 5e-4))`.

    Args:
        inner_optimizer: the optimizer to wrap, an instance or a string.
        weight_decay: non-negative factor; it acts on biases and normalisation too.
        name: optional name.

    Raises:
        ValueError: a negative or non-finite factor, or no Keras optimizer.

    Example:

    >>> optimizer = CoupledWeightDecay(keras.optimizers.SGD(0.5), weight_decay=0.1)
    >>> weight = keras.Variable([1.0])
    >>> optimizer.apply([ops.zeros((1,))], [weight])
    >>> round(float(weight[0]), 4)
    0.95
    """

    def __init__(self, inner_optimizer, weight_decay, name=None):
        if not 0 <= weight_decay < math.inf:
            raise ValueError(
                f"weight_decay must be a non-negative number; received {weight_decay}."
            )
        super().__init__(inner_optimizer, name=name)
        self.decay = weight_decay

    def transform(self, gradients, variables):
        # The inner optimizer divides by its loss scale, which the decay has not been through.
        factor = self.decay * (self.loss_scale_factor or 1.0)
        return [
            None if gradient is None else gradient + ops.cast(factor * variable, gradient.dtype)
            for gradient, variable in zip(gradients, variables)
        ]

    def get_config(self):
        return {**super().get_config(), "weight_decay": self.decay}
