"""A network that keeps its membranes between calls, as one pass over all calls."""

import keras
from keras import ops

from keras_dep._internal import keras_internals
from keras_dep._internal.types import Tensor
from keras_dep.layers import encoders
from keras_dep.layers import overrides
from keras_dep.layers import time_axis

OTHER_INPUTS = (encoders.RateEncoding, encoders.LatencyEncoding, time_axis.FoldTime)


class StatefulReplay(keras.Model):
    """Gives a network another image at every step: `(batch, steps, ...)` to the last steps' logits.

    Networks of this package reset their membranes in each call. One that did not, called one step
    at a time, would give the outputs that it gives for all images in one sequence.

    Args:
        model: a `keras.Model` from images to logits that repeats its image at every step.
        steps: number of steps.
        read: number of last steps whose logits are returned.

    Raises:
        ValueError: a model that does not repeat its image, or with weights of single steps.

    Example:

    >>> network = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    >>> StatefulReplay(network, steps=5, read=2)(ops.ones((3, 5, 4))).shape
    (3, 2, 2)
    """

    def __init__(self, model: keras.Model, steps: int, read: int) -> None:
        super().__init__(name=f"{model.name}_replay")
        self.network = model
        self.steps = steps
        self.read = read
        self.built = True
        for layer in _timed(model):
            if isinstance(layer, OTHER_INPUTS):
                raise ValueError(
                    "model must repeat its image at every step to take another one at each; "
                    f"received {model.name!r} with {type(layer).__name__}."
                )
            if layer.weights_per_step:
                raise ValueError(
                    "model must have weights that all steps share, to run for another number of "
                    f"steps; received {model.name!r} with {type(layer).__name__}."
                )

    def call(self, frames: Tensor, training: bool | None = None) -> Tensor:
        longer = overrides.attributes(_timed(self.network), timesteps=self.steps)
        with longer, encoders.frames_in_place(self.network):
            outputs = self.network(time_axis.fold(ops.swapaxes(frames, 0, 1)), training=training)
        if len(outputs.shape) == 2:
            outputs = ops.swapaxes(time_axis.unfold(outputs, self.steps), 0, 1)
        return outputs[:, -self.read :]


def _timed(model: keras.Model) -> list[time_axis.Timed]:
    """The layers that hold time in the batch."""
    return [
        layer for layer in keras_internals.all_layers(model) if isinstance(layer, time_axis.Timed)
    ]
