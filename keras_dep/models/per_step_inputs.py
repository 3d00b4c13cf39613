"""One image for each time step: a network of images seen as one of frames."""

import keras
import numpy as np

from keras_dep.layers import encoders
from keras_dep.layers.time_axis import FoldTime


def with_frames(model):
    """The same network, shown an image of its own at every time step.

    Where all frames are equal, logits are those of `model`. Weights are shared. An attack on it
    perturbs every frame by itself, within the ball around the sequence: another, stronger threat
    model than one perturbation of the image, of which its results say nothing. A network that takes
    frames by itself (`encoder="events"`) needs no wrapper: any attack on it is of this kind. For
    measuring and attacking: save and train the model itself.

    Args:
        model: a built `keras.Model` of images with direct encoding.

    Returns:
        A `keras.Model` from frames `(batch, T, ...)` to the outputs of `model`. Its method
        `frames(images)` repeats images as frames.

    Raises:
        ValueError: a model without direct encoding, or with different numbers of steps.

    Example:

    >>> from keras_dep import DirectEncoding, LIF, UnfoldTime
    >>> layers = [keras.layers.Dense(2), DirectEncoding(4), LIF(4), UnfoldTime(4)]
    >>> model = keras.Sequential([keras.Input((3,)), *layers])
    >>> framewise = with_frames(model)
    >>> tuple(framewise(framewise.frames(np.ones((5, 3), "float32"))).shape)
    (5, 4, 2)
    """
    return _Framewise(model)


class _Framewise(keras.Model):
    def __init__(self, model):
        super().__init__(name=f"{model.name}_frames")
        steps = {encoding.timesteps for encoding in encoders.direct_encodings(model)}
        if len(steps) != 1:
            raise ValueError(
                "model must repeat its image by DirectEncoding, over one number of steps; received "
                f"{model.name!r} with {sorted(steps) or 'none'}; a network of events takes frames "
                "as it is."
            )
        self.network = model
        self.fold = FoldTime(*steps)
        self.built = True

    def frames(self, images):
        """`images` `(batch, ...)` at every step: `(batch, T, ...)`."""
        return np.repeat(np.asarray(images)[:, None], self.fold.timesteps, axis=1)

    def call(self, inputs, training=None):
        with encoders.frames_in_place(self.network):
            return self.network(self.fold(inputs), training=training)

    def compute_output_shape(self, input_shape):
        return self.network.compute_output_shape((input_shape[0], *input_shape[2:]))
