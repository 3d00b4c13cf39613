"""Dominant Eigencomponent Projection around any Keras optimizer."""

import re
import warnings

from keras import ops

from keras_dep import deflation
from keras_dep._internal import keras_internals
from keras_dep._internal import validation
from keras_dep._internal.export import export
from keras_dep.optimizers import plan
from keras_dep.optimizers.base import GradientTransform

RANK_ONE = ("keep", "remove")


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

    What a weight is to its layer decides, and the layer's type tells, with that of its bases:

    | layer | inputs x outputs |
    |---|---|
    | `Dense`, `Conv1D` to `Conv3D`, `Embedding` | all axes but the last x the last |
    | `Conv1DTranspose` to `Conv3DTranspose`, `(kh, kw, out, in)` | `(kh kw in) x out` |
    | depthwise kernels, also of separable layers | `(kh kw) x (channels multiplier)` |
    | `EinsumDense` | axes that the equation sums over x the others |
    | queries, keys and values of attention | `d_model x (heads key_dim)` |
    | outputs of attention | `(heads key_dim) x d_model` |
    | `SimpleRNN`, `LSTM`, `GRU`, `ConvLSTM` | `in x (gates units)`, `units x (gates units)` |
    | torch's layers in `TorchModuleWrapper` | second axis if transposed, else first: outputs |

    One weight is one matrix, for heads and gates too: stored in one tensor, they read the same
    input and are outputs of one linear map. Biases, gains, all of normalisation, slopes of `PReLU`,
    the factors of low-rank adaptation, and weights that their gradient overwrites (quantisation)
    are never projected, whatever their rank. Of weights that a layer of your own adds only the
    shape is known: scalars and vectors are left alone, and the last axis counts outputs, in torch
    the first; `output_axes` and `exclude` say otherwise. `summary()` prints what becomes of each
    weight. Sparse gradients become dense.

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
        output_axes: for layers of your own: by regular expression searched in `variable.path`, the
            axes that count outputs, as for `keras_dep.deflation.matricise`; for example
            `{"mixer/weight": (0,)}` for a kernel that holds outputs first.
        name: optional name.

    Raises:
        ValueError: `inner_optimizer` is no Keras optimizer, scales the loss or accumulates
            gradients, an unknown `rank_one`, something to exclude that is neither a regular
            expression nor a variable, or, when built, `output_axes` that a weight does not have.

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
        output_axes=None,
        gradient_accumulation_steps=None,
        name=None,
    ):
        validation.one_of("rank_one", rank_one, RANK_ONE)
        super().__init__(inner_optimizer, gradient_accumulation_steps, name=name)
        self.rank_one = rank_one
        single = isinstance(exclude, str) or hasattr(exclude, "path")
        self.exclude = tuple(map(_path_pattern, [exclude] if single else exclude))
        self.output_axes = {
            _path_pattern(pattern): axes if isinstance(axes, int) else tuple(axes)
            for pattern, axes in (output_axes or {}).items()
        }

    def build(self, variables):
        if self.built:
            return
        entries = plan.plan(variables, self.rank_one, self.exclude, self.output_axes)
        if kept := sorted(entry.path for entry in entries if entry.is_kept):
            warnings.warn(
                f"DEP leaves {', '.join(kept)} as they are: with a side of 1 or 2 the gradient may "
                'have rank one and would be wiped out; rank_one="remove" projects them too.',
                stacklevel=2,
            )
        # Tuples, as Keras and TensorFlow would wrap what may change.
        self._keys = tuple(keras_internals.variable_key(self, variable) for variable in variables)
        self._entries = tuple(entries)
        self.projected_paths = tuple(entry.path for entry in entries if entry.projected)
        self.removed_energy, self.leading_value = (
            self.add_variable(
                shape=(len(self.projected_paths),),
                dtype="float32",
                aggregation="only_first_replica",
                name=name,
            )
            for name in ("removed_energy", "leading_value")
        )
        super().build(variables)

    def transform(self, gradients, variables):
        gradients = list(gradients)
        projected = {key: entry for key, entry in zip(self._keys, self._entries) if entry.projected}
        keys = [keras_internals.variable_key(self, variable) for variable in variables]
        entries = [projected.get(key) for key in keys]
        chosen = [
            index
            for index, gradient in enumerate(gradients)
            if gradient is not None and entries[index] is not None
        ]
        deflated = self.remove(
            [
                ops.reshape(ops.convert_to_tensor(gradients[index]), entries[index].layout)
                for index in chosen
            ],
            [entries[index].role.outputs for index in chosen],
        )
        zero = ops.zeros((), "float32")
        shares, values = (dict.fromkeys(projected, zero) for _ in range(2))
        for index, (rest, share, value) in zip(chosen, deflated):
            gradients[index] = ops.reshape(rest, entries[index].shape)
            shares[keys[index]], values[keys[index]] = share, value
        if shares:
            self.removed_energy.assign(ops.stack(list(shares.values())))
            self.leading_value.assign(ops.stack(list(values.values())))
        return gradients

    def remove(self, gradients, output_axes):
        """What is left of the gradients that are projected; a control overrides it.

        Args:
            gradients: list of tensors.
            output_axes: for each, the axes that count outputs, as for
                `keras_dep.deflation.matricise`.

        Returns:
            List of triples `(rest, share, value)`: a tensor like the gradient, the share in [0, 1]
            of the squared gradient norm that was removed, and the leading singular value.
        """
        return deflation.deflate_all(gradients, output_axes)

    def summary(self, print_fn=print):
        """Prints a table of all weights: shape, whether projected, as which matrix, and why.

        Args:
            print_fn: function of the text.

        Raises:
            ValueError: the optimizer is not built.

        Example:

        >>> import keras
        >>> head = keras.layers.Dense(4, name="head")
        >>> head.build((None, 8))
        >>> optimizer = DEP("sgd")
        >>> optimizer.build(head.trainable_variables)
        >>> optimizer.summary()
        weight       shape  projected  matrix  why
        -----------  -----  ---------  ------  ---------------
        head/kernel  8 x 4  yes        8 x 4   kernel of Dense
        head/bias    4      no         -       bias of Dense
        """
        if not self.built:
            raise ValueError(
                "summary() needs a built optimizer, which knows its weights; received an unbuilt "
                "one; call optimizer.build(model.trainable_variables) first."
            )
        print_fn(plan.table(self._entries))

    def get_config(self):
        return {
            **super().get_config(),
            "rank_one": self.rank_one,
            "exclude": list(self.exclude),
            "output_axes": {
                pattern: axes if isinstance(axes, int) else list(axes)
                for pattern, axes in self.output_axes.items()
            },
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        config = dict(config)
        # Version 0.1.0 knew depthwise kernels by a pattern; now the layer's type tells.
        if (pattern := config.pop("depthwise", "depthwise")) != "depthwise":
            warnings.warn(
                f"DEP no longer takes depthwise={pattern!r}: the type of a layer tells; for a "
                f"layer of your own pass output_axes={{{pattern!r}: (-2, -1)}}.",
                stacklevel=2,
            )
        return super().from_config(config, custom_objects)


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
