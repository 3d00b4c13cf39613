"""Images as event files hold them: checked, and encoded as PNG."""

import io

import keras
import numpy as np

from keras_dep.summaries.values import to_numpy

LARGEST_IMAGE_SIDE = 4096


def check(images):
    """Images as float32 array `(N, H, W, C)` in [0, 1]; raises `ValueError` where they are none."""
    pixels = to_numpy(images)
    pixels = pixels[None] if pixels.ndim == 3 else pixels
    shaped = pixels.ndim == 4 and pixels.shape[-1] in (1, 3) and 0 not in pixels.shape
    if not shaped or not keras.backend.is_float_dtype(pixels.dtype.name):
        raise ValueError(
            "images must be floats of shape (H, W, C) or (N, H, W, C) with 1 or 3 channels; "
            f"received shape {pixels.shape} and dtype {pixels.dtype}; "
            "move the channels last and divide 8-bit images by 255."
        )
    if max(pixels.shape[1:3]) > LARGEST_IMAGE_SIDE:
        raise ValueError(
            f"images must have sides of at most {LARGEST_IMAGE_SIDE} pixels; "
            f"received shape {pixels.shape}; shrink them first."
        )
    pixels = pixels.astype("float32")
    # Half precision may overshoot by a rounding; more than that is another scale. NaN fails too.
    if not (pixels.min() >= -1e-3 and pixels.max() <= 1 + 1e-3):
        raise ValueError(
            "images must lie in [0, 1]; received values from "
            f"{pixels.min()} to {pixels.max()}; rescale them first."
        )
    return np.clip(pixels, 0.0, 1.0)


def encode_png(pixels):
    """One image `(H, W, C)` in [0, 1] as the bytes of a PNG file."""
    from PIL import Image

    levels = np.rint(pixels * 255).astype("uint8")
    stream = io.BytesIO()
    Image.fromarray(levels[..., 0] if levels.shape[-1] == 1 else levels).save(stream, format="PNG")
    return stream.getvalue()
