"""The image low-passed more strongly at each step, as the encoder of FEEL-SNN."""

from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

from keras_dep._internal.export import export
from keras_dep._internal.types import Array
from keras_dep._internal.types import Tensor
from keras_dep.layers import time_axis

MASKS, PARTS = ("symmetric", "half_open"), ("real", "magnitude")


@export
class FrequencyEncoding(time_axis.Timed, keras.layers.Layer):
    """Frames of one image, low-passed with a radius of its own at each step.

    `x_t = F^-1(M_t F(x))` with the centred discrete Fourier transform of both sides of the image
    and a square mask of radius `r_t`. The transform is written as products with constant matrices
    of each side, so that it is exact and has a gradient on every backend.

    Args:
        timesteps: number of steps `T`, at least 1.
        radii: a radius per step; default: `n/2 - 2t` for `t = 0, ..., T-1` and images of side `n`,
            as published for 32 and 64 pixels; below 32 pixels the steps shrink with `n`, and no
            radius falls below 1.
        mask: `"symmetric"` keeps `|m| <= r`, as the text has it; `"half_open"` keeps
            `-r <= m < r`, as the released code does, and gives complex frames.
        part: `"real"` takes their real part; `"magnitude"` their absolute value, as the released
            code does, which folds negative values over.
        data_format: `"channels_last"` or `"channels_first"`; default: Keras' own.
        **kwargs: `name` and `dtype`, as in `keras.layers.Layer`.

    Call arguments:
        inputs: images `(batch, height, width, channels)`.

    Output shape:
        Frames `(timesteps * batch, height, width, channels)`, time-major.

    Raises:
        ValueError: an argument outside its limits; when built, a radius larger than half the image.

    Source: Xu et al., "FEEL-SNN", NeurIPS 2024, and its released code.

    Example:

    >>> layer = FrequencyEncoding(timesteps=2, radii=(4, 0))
    >>> frames = ops.convert_to_numpy(layer(ops.reshape(ops.arange(64.0), (1, 8, 8, 1))))
    >>> frames.shape, float(frames[1].std().round(3)), float(frames[0].max().round(3))
    ((2, 8, 8, 1), 0.0, 63.0)
    """

    folds = True

    def __init__(
        self,
        timesteps: int,
        radii: Sequence[int] | None = None,
        mask: str = "symmetric",
        part: str = "real",
        data_format: str | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        time_axis.check_timesteps(timesteps)
        if radii is not None and (len(radii) != timesteps or min(radii) < 0):
            raise ValueError(
                f"radii must be {timesteps} numbers of at least 0, one per step; received {radii}."
            )
        for name, value, choices in (("mask", mask, MASKS), ("part", part, PARTS)):
            if value not in choices:
                raise ValueError(f"{name} must be one of {', '.join(choices)}; received {value!r}.")
        self.timesteps = timesteps
        self.radii = None if radii is None else tuple(radii)
        self.mask = mask
        self.part = part
        self.data_format = keras.config.image_data_format() if data_format is None else data_format

    def build(self, input_shape):
        sides = slice(2, 4) if self.data_format == "channels_first" else slice(1, 3)
        height, width = input_shape[sides]
        radii = self.radii or usual_radii(min(height, width), self.timesteps)
        if max(radii) > -(-min(height, width) // 2):
            raise ValueError(
                f"radii must be at most half the side of the image, {-(-min(height, width) // 2)}; "
                f"received {max(radii)}; leave radii out for those that suit the size."
            )
        self._filters = [
            tuple(low_pass(size, radius, self.mask) for size in (height, width)) for radius in radii
        ]
        self.built = True

    def call(self, inputs: Tensor) -> Tensor:
        return time_axis.fold(ops.stack([self._frame(inputs, *each) for each in self._filters]))

    def _frame(self, images, rows, columns):
        real = self._product(images, rows.real, columns.real)
        if self.mask == "symmetric":
            return ops.abs(real) if self.part == "magnitude" else real
        real = real - self._product(images, rows.imag, columns.imag)
        if self.part == "real":
            return real
        imaginary = self._product(images, rows.real, columns.imag)
        imaginary = imaginary + self._product(images, rows.imag, columns.real)
        squares = ops.square(real) + ops.square(imaginary)
        # The root has no derivative at 0.
        positive = squares > 0
        return ops.where(positive, ops.sqrt(ops.where(positive, squares, 1.0)), 0.0)

    def _product(self, images, rows, columns):
        axes = "bcij" if self.data_format == "channels_first" else "bijc"
        rows, columns = (ops.cast(each.copy(), images.dtype) for each in (rows, columns))
        images = ops.einsum(f"hi,{axes}->{axes.replace('i', 'h')}", rows, images)
        return ops.einsum(f"wj,{axes}->{axes.replace('j', 'w')}", columns, images)

    def compute_output_shape(self, input_shape):
        batch = input_shape[0]
        return (None if batch is None else batch * self.timesteps, *input_shape[1:])

    def get_config(self):
        return {
            **super().get_config(),
            "timesteps": self.timesteps,
            "radii": self.radii,
            "mask": self.mask,
            "part": self.part,
            "data_format": self.data_format,
        }


def usual_radii(side: int, timesteps: int) -> tuple[int, ...]:
    """The radius of each step for images of a side.

    Example:

    >>> usual_radii(32, 4), usual_radii(8, 4)
    ((16, 14, 12, 10), (4, 3, 3, 2))
    """
    fall = 2 * min(1.0, side / 32)
    return tuple(max(1, int(side / 2 - fall * step)) for step in range(timesteps))


def low_pass(size: int, radius: int, mask: str) -> Array:
    """The complex matrix `(size, size)` that low-passes a side of an image.

    Example:

    >>> low_pass(4, 2, "symmetric").real.round(3).tolist() == np.eye(4).tolist()
    True
    """
    frequencies = np.fft.fftfreq(size, 1 / size)
    kept = abs(frequencies) <= radius
    if mask == "half_open":
        kept = (-radius <= frequencies) & (frequencies < radius)
    return np.fft.ifft(kept[:, None] * np.fft.fft(np.eye(size), axis=0), axis=0)
