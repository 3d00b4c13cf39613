"""The encoder of FEEL-SNN: an image low-passed more strongly at each step."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_dep._internal import validation
from keras_dep._internal.export import export
from keras_dep._internal.types import Array
from keras_dep._internal.types import Record
from keras_dep._internal.types import Shape
from keras_dep._internal.types import Tensor
from keras_dep.layers import time_axis
from keras_dep.layers.base import known_sizes

MASKS, PARTS = ("symmetric", "half_open"), ("real", "magnitude")
FORMATS = ("channels_last", "channels_first")


@export
class FrequencyEncoding(time_axis.Timewise):
    """Frames of one image, each low-passed with the radius of its step.

    `x_t = F^-1(M_t F(x))` with the two-dimensional discrete Fourier transform and a square mask of
    radius `r_t`. The mask is a product of one per side, so the whole is a constant matrix per side
    of the image: it needs no complex numbers, and attacks differentiate through it on every
    backend. It is computed in float32 under half precision.

    Args:
        timesteps: number of steps `T`, at least 1.
        radii: a radius per step; default: `n/2 - 2t` for `t = 0, ..., T-1` and images of side `n`,
            as published for 32 and 64 pixels. Below 32 pixels the decrement shrinks with `n`. No
            radius is below 1.
        mask: `"symmetric"`: frequencies `|m| <= r`, as in the paper; `"half_open"`: `-r <= m < r`,
            as in the released code, which makes the frames complex.
        part: `"real"`: the real part of the frames; `"magnitude"`: their absolute value, as in the
            released code, which also flips negative values.
        data_format: `"channels_last"` or `"channels_first"`; default: Keras' own.
        **kwargs: `name` and `dtype`, as in `keras.layers.Layer`.

    Call arguments:
        inputs: images `(batch, height, width, channels)`.

    Output shape:
        Frames `(timesteps * batch, height, width, channels)`, time-major.

    Raises:
        ValueError: an argument outside its limits; when built, a radius above half the side of the
            image, or an image of unknown size.

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
        **kwargs: Any,
    ) -> None:
        super().__init__(timesteps, **kwargs)
        if radii is not None:
            check_radii(radii, timesteps)
        validation.one_of("mask", mask, MASKS)
        validation.one_of("part", part, PARTS)
        data_format = keras.config.image_data_format() if data_format is None else data_format
        self.radii = None if radii is None else tuple(radii)
        self.mask = mask
        self.part = part
        self.data_format = validation.one_of("data_format", data_format, FORMATS)
        self.built = False

    def build(self, input_shape: Shape) -> None:
        sizes = known_sizes(input_shape, "FrequencyEncoding")
        if len(sizes) != 3:
            raise ValueError(
                f"FrequencyEncoding must have images (batch, height, width, channels); received "
                f"the shape {tuple(input_shape)}; put it on the image."
            )
        height, width = sizes[1:] if self.data_format == "channels_first" else sizes[:2]
        largest = -(-min(height, width) // 2)
        radii = self.radii or usual_radii(min(height, width), self.timesteps)
        if max(radii) > largest:
            raise ValueError(
                f"radii must be at most half the side of the image, {largest}; received "
                f"{max(radii)}; leave radii out for the usual ones."
            )
        # The radii in force.
        self.present_radii = radii
        self._filters = [
            tuple(low_pass(size, radius, self.mask) for size in (height, width)) for radius in radii
        ]
        self.built = True

    def call(self, inputs: Tensor) -> Tensor:
        precision = "float64" if self.compute_dtype == "float64" else "float32"
        images = ops.cast(inputs, precision)
        frames = ops.stack([self._frame(images, *each) for each in self._filters])
        return ops.cast(time_axis.fold(frames), self.compute_dtype)

    def _frame(self, images: Tensor, rows: Array, columns: Array) -> Tensor:
        real = self._product(images, rows.real, columns.real)
        if self.mask == "symmetric":
            return ops.abs(real) if self.part == "magnitude" else real
        real = real - self._product(images, rows.imag, columns.imag)
        if self.part == "real":
            return real
        imaginary = self._product(images, rows.real, columns.imag)
        imaginary = imaginary + self._product(images, rows.imag, columns.real)
        squares = ops.square(real) + ops.square(imaginary)
        # The root has no derivative at 0. NaN passes.
        black = squares == 0
        return ops.where(black, 0.0, ops.sqrt(ops.where(black, 1.0, squares)))

    def _product(self, images: Tensor, rows: Array, columns: Array) -> Tensor:
        axes = "bcij" if self.data_format == "channels_first" else "bijc"
        # A copy: parts of complex arrays are not contiguous.
        dtype = keras.backend.standardize_dtype(images.dtype)
        rows, columns = (ops.convert_to_tensor(each.astype(dtype)) for each in (rows, columns))
        images = ops.einsum(f"hi,{axes}->{axes.replace('i', 'h')}", rows, images)
        return ops.einsum(f"wj,{axes}->{axes.replace('j', 'w')}", columns, images)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        batch = input_shape[0]
        return (None if batch is None else batch * self.timesteps, *input_shape[1:])

    def get_config(self) -> Record:
        return {
            **super().get_config(),
            "radii": self.radii,
            "mask": self.mask,
            "part": self.part,
            "data_format": self.data_format,
        }


def check_radii(radii: Sequence[float], timesteps: int | None = None) -> None:
    """Raises `ValueError` unless `radii` are numbers of at least 0, as many as `timesteps`."""
    count = "" if timesteps is None else f"{timesteps} "
    try:
        good = min(radii) >= 0 and timesteps in (None, len(radii))
    except (TypeError, ValueError):
        good = False
    if not good:
        raise ValueError(
            f"radii must be {count}numbers of at least 0, one per step; received {radii}; leave "
            "radii out for the usual ones."
        )


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
    # Whole numbers, which a product of floats may miss.
    frequencies = np.rint(np.fft.fftfreq(size, 1 / size))
    kept = abs(frequencies) <= radius
    if mask == "half_open":
        kept = (-radius <= frequencies) & (frequencies < radius)
    return np.fft.ifft(kept[:, None] * np.fft.fft(np.eye(size), axis=0), axis=0)
