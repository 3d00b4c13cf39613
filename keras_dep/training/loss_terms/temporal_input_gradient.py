"""TG-Reg: a penalty on the input gradient of every time step."""

import dataclasses
from typing import Any

import keras
from keras import ops

from keras_dep import _backend
from keras_dep import losses
from keras_dep._internal import validation
from keras_dep._internal.export import export
from keras_dep._internal.types import Tensor
from keras_dep.layers import encoders
from keras_dep.models import per_step_inputs
from keras_dep.training.loss_terms.base import LossTerm
from keras_dep.training.loss_terms.base import check_strength


@export
@dataclasses.dataclass(frozen=True)
class TemporalInputGradient(LossTerm):
    """Penalty on the squared l2 norm of the input gradient of every time step (TG-Reg).

    The network is shown the image once per step, as `s_1 ... s_T`, and with mean logits `z`

        term = strength * mean_{b, t} || grad_{s_t} log softmax(z)_y ||^2

    which is differentiated once more in the weights. The pass behind it runs in training mode, and
    what it updates is forgotten: moving averages are those of the training pass alone. It costs one
    more pass and a gradient of a gradient, in memory too.

    Args:
        strength: weight of the penalty, at least 0; 0 leaves it out.
        gradient_of: `"batch"`: the gradient of the mean loss over the batch, as a framework gives
            it of a training loss, which divides each norm by the squared batch size; `"sample"`:
            the gradient of each sample's own loss, as the equation has it.

    Raises:
        ValueError: an unknown `gradient_of`; a strength outside its limits; in `DefendedTraining`,
            a network without direct encoding over one number of steps.

    Source: TG-Reg (CVPR 2026), with the released loss: cross-entropy plus 100 times the mean
    squared l2 norm of the per-step input gradients, natural training only, T 8. Open: the paper's
    text sums over steps and over all entries of the Fisher matrix, and takes the expectation over
    classes; which of the two made the published table; and whether each sample's gradient is
    divided by the batch size. With `"sample"` the published strength diverges on the digits from
    the first epoch (the loss starts at 32 and passes 1e6), so `"batch"` is the default.

    Example:

    >>> from keras_dep import DirectEncoding, LIF, UnfoldTime
    >>> from keras_dep.training import DefendedTraining
    >>> spiking = [DirectEncoding(2), keras.layers.Dense(5), LIF(2), keras.layers.Dense(3)]
    >>> network = keras.Sequential([keras.Input((4,)), *spiking, UnfoldTime(2)])
    >>> model = DefendedTraining(network, loss_terms=[TemporalInputGradient()])
    >>> model.compile("sgd", losses.MeanLogitCrossentropy())
    >>> sorted(model.train_on_batch(ops.ones((2, 4)), ops.array([0, 1]), return_dict=True))
    ['loss', 'temporal_input_gradient']
    """

    strength: float = 100.0
    gradient_of: str = "batch"

    name = "temporal_input_gradient"

    def __post_init__(self):
        check_strength("strength", self.strength)
        validation.one_of("gradient_of", self.gradient_of, ("batch", "sample"))

    def check(self, network: keras.Model) -> None:
        """Raises `ValueError` for a network that does not repeat its image over the steps."""
        per_step_inputs.with_frames(network)

    def __call__(
        self, network: keras.Model, images: Tensor, labels: Tensor, outputs: Tensor, prepared: Any
    ) -> Tensor:
        """The term as a scalar; see `LossTerm`."""
        steps = encoders.direct_encodings(network)[0].timesteps
        frames = ops.concatenate([images] * steps)

        def likelihood(frames):
            with encoders.frames_in_place(network):
                logits = losses.mean_logits(network(frames, training=True))
            logits = ops.cast(logits, "float32") if logits.dtype != "float64" else logits
            return -ops.sum(losses.cross_entropy(labels, logits))

        slope = _backend.differentiable_gradient(network, likelihood, frames)
        squares = ops.square(slope if slope.dtype == "float64" else ops.cast(slope, "float32"))
        norms = ops.sum(squares, axis=tuple(range(1, len(images.shape))))
        if self.gradient_of == "batch":
            # The images of all replicas and processes: the mean loss is that of the whole batch.
            share = _backend.share_of_replica(ops.ones((), norms.dtype))
            share = share / _backend.workers().programs
            norms = norms / (ops.cast(ops.shape(images)[0], norms.dtype) / share) ** 2
        return self.strength * ops.mean(norms)
