"""Random numbers of attacks, and the random generators of models."""

import contextlib
import zlib
from collections.abc import Generator
from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

from keras_dep._internal import compilation
from keras_dep._internal import keras_internals
from keras_dep._internal.types import Array
from keras_dep._internal.types import ArrayLike
from keras_dep.attacks.threat import Threat
from keras_dep.models import inference


def image_draws(images: ArrayLike, seed: int | Sequence[int]) -> list[np.random.Generator]:
    """One random generator per image, seeded by its pixels: independent of the batch.

    Args:
        images: array or tensor `(n, ...)`.
        seed: an integer or a list of integers.

    Returns:
        List of `n` generators.

    Example:

    >>> one, two = (draw.integers(100) for draw in image_draws(np.zeros((2, 4)), seed=3))
    >>> bool(one == two)
    True
    """
    pixels = np.ascontiguousarray(ops.convert_to_numpy(images), "float32")
    seed = [int(part) for part in np.atleast_1d(seed)]
    return [np.random.default_rng([zlib.crc32(image.tobytes()), *seed]) for image in pixels]


def random_offset(threat: Threat, images: ArrayLike, seed: int | Sequence[int]) -> Array:
    """Random offsets from inside the ball, one per image; see `Threat.inside`.

    Args:
        threat: the ball.
        images: array or tensor `(n, ...)`.
        seed: as in `image_draws`.

    Returns:
        float32 array like the images.

    Example:

    >>> offset = random_offset(Threat(epsilon=0.1), np.zeros((2, 4)), seed=3)
    >>> bool(np.abs(offset).max() <= 0.1)
    True
    """
    shape = tuple(np.shape(images)[1:])
    offsets = [threat.inside(draw, shape) for draw in image_draws(images, seed)]
    return np.stack(offsets).astype("float32")


@contextlib.contextmanager
def random_states_kept(model: keras.Model) -> Generator[None, None, None]:
    """Restores the states of a model's random generators at the end of the block.

    Args:
        model: a built `keras.Model`.

    Yields:
        Nothing.

    Example:

    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.GaussianNoise(0.5)])
    >>> with random_states_kept(model):
    ...     first = model(ops.ones((1, 4)), training=True)
    >>> bool(ops.all(first == model(ops.ones((1, 4)), training=True)))
    True
    """
    states = [(v, ops.convert_to_numpy(v)) for v in keras_internals.random_states(model)]
    try:
        yield
    finally:
        for variable, state in states:
            variable.assign(state)


def draws(model: keras.Model) -> bool:
    """Whether a layer of this package draws at random in inference.

    Example:

    >>> from keras_dep import RateEncoding
    >>> draws(keras.Sequential([keras.Input((4,)), RateEncoding(2)]))
    True
    """
    return any(getattr(layer, "draws", False) for layer in keras_internals.all_layers(model))


def is_random(model: keras.Model, images: ArrayLike) -> bool:
    """Whether a model draws at random in inference.

    Two calls may agree by chance, as behind gates that are nearly always open, so layers of this
    package are asked themselves.

    Args:
        model: a built `keras.Model`.
        images: array or tensor `(n, ...)`.

    Returns:
        `True` where a layer says so, or two calls in inference mode differ.

    Example:

    >>> is_random(keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]), np.ones((1, 4)))
    False
    """
    if draws(model):
        return True
    compilation.heed_changes(model)
    with random_states_kept(model):
        answers = [ops.convert_to_numpy(inference.predict(model, images)) for _ in range(2)]
    return not np.array_equal(answers[0], answers[1], equal_nan=True)
