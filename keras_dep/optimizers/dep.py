"""Dominant Eigencomponent Projection around any Keras optimizer."""

import warnings
from collections.abc import Sequence
from typing import Self

import keras

from keras_dep import deflation
from keras_dep._internal.export import export
from keras_dep._internal.types import Record
from keras_dep._internal.types import Tensor
from keras_dep.deflation.projection import OutputAxes
from keras_dep.optimizers.matrix_transform import MatrixTransform


@export
class DEP(MatrixTransform):
    """Dominant Eigencomponent Projection around any Keras optimizer.

    Once per update, every weight gradient is folded into a matrix with the outputs as columns and
    loses its leading singular component, `G - s_1 u_1 v_1^T`; the inner optimizer receives the
    rest. There is no hyperparameter. The step stays a descent direction: its inner product with the
    gradient is the squared norm of what remains.

    Limits: the curvature of the loss at the current weights does not change, and that the removed
    component is the sharpest direction is an assumption of the paper, not a theorem. Moments,
    weight decay and clipping of the inner optimizer act after the projection and are not projected;
    kernel regularizers are part of the loss, so they are.

    The type of the layer that holds a weight, or of its base class, decides how the gradient is
    folded:

    | layer | inputs x outputs |
    |---|---|
    | `Dense`, `Conv1D` to `Conv3D`, `Embedding` | all axes but the last x the last |
    | `Conv1DTranspose` to `Conv3DTranspose`, `(kh, kw, out, in)` | `(kh kw in) x out` |
    | depthwise kernels, also of separable layers | `(kh kw) x (channels multiplier)` |
    | `EinsumDense` | axes that the equation sums over x the other axes |
    | queries, keys and values of attention | `d_model x (heads key_dim)` |
    | outputs of attention | `(heads key_dim) x d_model` |
    | `SimpleRNN`, `LSTM`, `GRU`, `ConvLSTM` | `in x (gates units)`, `units x (gates units)` |
    | torch's layers in `TorchModuleWrapper` | second axis if transposed, else first: outputs |

    One weight is one matrix, for heads and gates too: they are stored in one tensor, read the same
    input and are outputs of one linear map. Biases, gains, weights of normalisation, slopes of
    `PReLU`, factors of low-rank adaptation, and weights that their gradient overwrites
    (quantisation) are never projected, at any rank. For weights that a layer of your own adds, only
    the shape is known: scalars and vectors are not projected, and the last axis counts outputs (in
    torch the first). `output_axes` and `exclude` change that. `summary()` prints the decision for
    each weight. Sparse gradients become dense.

    A gradient of rank one would be removed as a whole, and its weight would never learn. Any matrix
    with one row or column has rank one, and so has the kernel of a softmax head over two classes:
    its rank is at most the number of classes minus one. Therefore kernels with a side of 1 or 2 are
    not projected by default, and a warning names them once. A batch of one image gives every dense
    layer a gradient of rank one too; that one is removed.

    Replicas: under `tf.distribute`, gradients are reduced before the projection; accumulation is
    refused there, because TensorFlow cannot synchronise replicas inside a branch. On JAX,
    `keras.distribution` passes reduced gradients; inside a `pmap` or `shard_map` of your own, take
    the mean first. On torch, `keras_dep.distribution.start("ddp")` lets `fit` average over the
    processes of `torchrun`. Without it write a training loop, wrap the model in
    `DistributedDataParallel`, which averages during `backward`, and call
    `optimizer.apply([v.value.grad for v in weights], weights)`.

    After each step, two variables hold one number per projected weight, in the order of
    `projected_paths`: `removed_energy`, the share in [0, 1] of the squared gradient norm that was
    removed, and `leading_value`, the singular value `s_1`. Both are 0 for a zero or missing
    gradient. On JAX, a callback that reads them within an epoch calls
    `self.model.jax_state_sync()` first.

    Args:
        inner_optimizer: the optimizer to wrap, an instance or a string.
        rank_one: `"keep"` does not project kernels with a side of 1 or 2; `"remove"` projects them
            too, as the paper's released code does.
        exclude: weights that are not projected: a regular expression searched in `variable.path`,
            a variable, or a sequence of these.
        output_axes: output axes of weights of your own layers, by regular expression searched in
            `variable.path`; see `keras_dep.deflation.matricise`. For example `{"mixer/weight":
            (0,)}` for a kernel that stores outputs first.
        gradient_accumulation_steps: number of calls whose mean gradient is projected and applied
            once, at least 2, or `None`; set it here and not in the inner optimizer.
        name: name of the optimizer.

    Attributes:
        projected_paths: paths of the projected weights; set by `build`.
        removed_energy: float32 variable `(projected weights,)`.
        leading_value: float32 variable `(projected weights,)`.

    Raises:
        ValueError: `inner_optimizer` is no Keras optimizer, scales the loss or accumulates
            gradients; an unknown `rank_one`; an `exclude` that is neither a regular expression nor
            a variable; when built, `output_axes` that a weight does not have.

    Source: arXiv 2505.11134, Eq. 12 to 15 (as Dominant Singular Deflation at ICLR 2026).

    Example:

    >>> import keras
    >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
    >>> model.compile(optimizer=DEP(keras.optimizers.SGD(0.1)), loss="mse")
    >>> model.optimizer.rank_one
    'keep'

    Any network can be trained with it. Here a ResNet without spikes, with gradients accumulated
    over four calls:

    >>> network = keras.applications.ResNet50(weights=None, input_shape=(32, 32, 3), classes=10)
    >>> adam = keras.optimizers.Adam(1e-3, global_clipnorm=1.0)
    >>> network.compile(DEP(adam, gradient_accumulation_steps=4), "sparse_categorical_crossentropy")
    """

    RECORDS = ("removed_energy", "leading_value")
    removed_energy: keras.Variable
    leading_value: keras.Variable

    def transform_matrices(
        self, gradients: Sequence[Tensor], output_axes: Sequence[OutputAxes]
    ) -> Sequence[tuple[Tensor, ...]]:
        return deflation.deflate_all(gradients, output_axes)

    @classmethod
    def from_config(cls, config: Record, custom_objects: Record | None = None) -> Self:
        config = dict(config)
        # Version 0.1.0 found depthwise kernels by a pattern; now the type of the layer decides.
        if (pattern := config.pop("depthwise", "depthwise")) != "depthwise":
            warnings.warn(
                f"DEP no longer takes depthwise={pattern!r}: the type of the layer decides; for "
                f"a layer of your own pass output_axes={{{pattern!r}: (-2, -1)}}.",
                stacklevel=2,
            )
        return super().from_config(config, custom_objects)
