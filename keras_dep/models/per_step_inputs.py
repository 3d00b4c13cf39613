"""A network of images as a network of frames, with one image per time step."""

from collections.abc import Sequence

import keras
import numpy as np

from keras_dep._internal.types import Array
from keras_dep._internal.types import ArrayLike
from keras_dep._internal.types import Tensor
from keras_dep.layers import encoders
from keras_dep.layers.time_axis import FoldTime


def with_frames(model: keras.Model) -> keras.Model:
    """The same network with a separate image at every time step.

    It shares the weights of `model`; for equal frames the logits are those of `model`. An attack on
    it perturbs each frame separately, within the ball around the sequence. That is a stronger
    threat model than one perturbation of the image: do not report its results as results for
    images. A network of frames (`encoder="events"`) needs no wrapper. Use the wrapper to measure
    and attack; save and train `model` itself.

    Args:
        model: a built `keras.Model` of images with `keras_dep.DirectEncoding`.

    Returns:
        A `keras.Model` from frames `(batch, T, ...)` to the outputs of `model`. Its method
        `frames(images)` repeats images as frames.

    Raises:
        ValueError: a model without direct encoding, or with different numbers of steps.

    Example:

    >>> from keras_dep import DirectEncoding, LIF, UnfoldTime
    >>> layers = [keras.layers.Dense(2), DirectEncoding(4), LIF(4), UnfoldTime(4)]
    >>> model = keras.Sequential([keras.Input((3,)), *layers])
    >>> of_frames = with_frames(model)
    >>> tuple(of_frames(of_frames.frames(np.ones((5, 3), "float32"))).shape)
    (5, 4, 2)
    """
    return _OfFrames(model)


class _OfFrames(keras.Model):
    def __init__(self, model: keras.Model) -> None:
        super().__init__(name=f"{model.name}_frames")
        steps = {encoding.timesteps for encoding in encoders.direct_encodings(model)}
        if len(steps) != 1:
            raise ValueError(
                "model must repeat its image by DirectEncoding, over one number of steps; received "
                f"{model.name!r} with {sorted(steps) or 'none'}; a network of events already takes "
                "frames."
            )
        self.network = model
        self.fold = FoldTime(*steps)
        self.built = True

    def frames(self, images: ArrayLike) -> Array:
        """Images `(batch, ...)` repeated at every step, `(batch, T, ...)`."""
        return np.repeat(np.asarray(images)[:, None], self.fold.timesteps, axis=1)

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        with encoders.frames_in_place(self.network):
            return self.network(self.fold(inputs), training=training)

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple:
        return self.network.compute_output_shape((input_shape[0], *input_shape[2:]))
