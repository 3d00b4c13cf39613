"""Checks of images, labels and numeric arguments, before anything is computed."""

import operator
from collections.abc import Iterable
from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops

from keras_dep._internal.types import ArrayLike

LARGEST_LABEL = np.iinfo("int32").max


def images_and_labels(
    images: ArrayLike,
    labels: ArrayLike,
    classes: int | None = None,
    bounds: tuple[float, float] | None = (0.0, 1.0),
) -> tuple[np.ndarray, np.ndarray]:
    """Checks images and labels, and converts them to float32 `(n, ...)` and int32 `(n,)`.

    Args:
        images: as in `checked_images`.
        labels: as in `class_labels`.
        classes: number of classes, or `None` where it is not known yet.
        bounds: the pixel range, or `None`.

    Raises:
        ValueError: no images, another number of labels, or a value that the two functions refuse.

    Example:

    >>> images_and_labels(np.zeros((2, 4)), [[3], [0]])[1].tolist()
    [3, 0]
    """
    counts = len(_array("images", images)), len(_array("labels", labels))
    if not counts[0] or counts[0] != counts[1]:
        raise ValueError(
            "Images and labels must be at least one image and one label each; received "
            f"{counts[0]} images and {counts[1]} labels."
        )
    return checked_images(images, bounds), class_labels(labels, classes)


def class_labels(labels: ArrayLike, classes: int | None = None) -> np.ndarray:
    """Checks labels, and converts them to int32 `(n,)`.

    Args:
        labels: whole numbers from 0 on, `(n,)` or `(n, 1)`, or one-hot rows `(n, classes)`, as
            NumPy array, tensor or list of any numeric type.
        classes: number of classes, or `None` where it is not known yet.

    Raises:
        ValueError: anything else.

    Example:

    >>> class_labels([[0, 1], [1, 0]]).tolist()
    [1, 0]
    """
    given = _array("labels", labels)
    end = "classes - 1" if classes is None else f"{classes - 1}, of {classes} classes"
    expected = (
        f"labels must be whole numbers (n,) or (n, 1) from 0 to {end}, or one-hot rows "
        "(n, classes); received"
    )
    described = f"{given.dtype} {given.shape}"
    if given.dtype.kind not in "biuf" or given.ndim not in (1, 2) or not given.size:
        raise ValueError(f"{expected} {described}.")
    if given.ndim == 2 and given.shape[1] > 1:
        if classes not in (None, given.shape[1]):
            raise ValueError(f"{expected} {described}.")
        is_hot = (given == 1).sum(axis=1) == 1
        is_row = is_hot & ((given == 0).sum(axis=1) == given.shape[1] - 1)
        if not is_row.all():
            raise ValueError(f"{expected} {described} with the row {given[~is_row][0].tolist()}.")
        return given.argmax(axis=1).astype("int32")
    given = given.reshape(-1)
    limit = LARGEST_LABEL + 1 if classes is None else classes
    with np.errstate(invalid="ignore"):
        is_class = (given >= 0) & (given < limit) & (given == np.floor(given))
    if not is_class.all():
        raise ValueError(f"{expected} {described} with the label {given[~is_class][0]}.")
    return given.astype("int32")


def checked_images(
    images: ArrayLike, bounds: tuple[float, float] | None = (0.0, 1.0)
) -> np.ndarray:
    """Checks images, and converts them to float32 `(n, ...)`.

    Args:
        images: at least one image, NumPy array, tensor or list of a numeric type.
        bounds: the pixel range `(low, high)`, or `None` for any finite values.

    Raises:
        ValueError: no images, values that are not finite, or outside the bounds.

    Example:

    >>> checked_images([[0, 0.5, 1]]).dtype
    dtype('float32')
    """
    given = _array("images", images)
    if given.dtype.kind not in "biuf" or given.ndim < 2 or not given.size:
        raise ValueError(
            "Images must be numbers (n, ...), at least one image; received "
            f"{given.dtype} {given.shape}."
        )
    given = np.ascontiguousarray(given, "float32")
    least, most = given.min(), given.max()
    limits = "be finite" if bounds is None else "lie in [{:g}, {:g}]".format(*bounds)
    if not (np.isfinite(least) and np.isfinite(most)):
        count = int((~np.isfinite(given)).reshape(len(given), -1).any(axis=1).sum())
        raise ValueError(
            f"Images must {limits}; received values that are not finite in {count} of {len(given)} "
            "images."
        )
    if bounds is not None and not (bounds[0] <= least and most <= bounds[1]):
        raise ValueError(
            f"Images must {limits}; received values from {least:.4g} to {most:.4g}; scale them, "
            "and put normalisation inside the model."
        )
    return given


def one_of(name: str, value: object, choices: Iterable[str], mend: str = "") -> str:
    """Checks an argument that must be one of several names, and returns it.

    Args:
        name: name of the argument.
        value: its value.
        choices: the allowed names, in the order in which the message lists them.
        mend: advice at the end of the message.

    Raises:
        ValueError: any other value.

    Example:

    >>> one_of("reset", "soft", ("soft", "hard"))
    'soft'
    """
    allowed = tuple(choices)
    if isinstance(value, str) and value in allowed:
        return value
    mend = f"; {mend}" if mend else ""
    raise ValueError(f"{name} must be one of {', '.join(allowed)}; received {value!r}{mend}.")


def whole_number(name: str, value: Any, least: int = 1) -> int:
    """Checks a whole number, and converts it to `int`.

    Raises:
        ValueError: no whole number (2.5, 2.0, `True`, `None`), or one below `least`.

    Example:

    >>> whole_number("steps", np.int64(7))
    7
    """
    # Arrays of one number count as numbers otherwise.
    is_number = not isinstance(value, (bool, np.bool_)) and np.ndim(value) == 0
    try:
        number = operator.index(value) if is_number else None
    except TypeError:
        number = None
    if number is None:
        raise ValueError(f"{name} must be a whole number, at least {least}; received {value!r}.")
    if number < least:
        raise ValueError(f"{name} must be at least {least}; received {number}.")
    return number


def checked_seed(seed: int | Sequence[int] | np.ndarray) -> int | list[int]:
    """Checks a seed of NumPy's generators: a whole number of at least 0, or a list of these.

    Raises:
        ValueError: any other value, including `None`, which would give unrepeatable draws.

    Example:

    >>> checked_seed((1, 2))
    [1, 2]
    """
    if isinstance(seed, (list, tuple, np.ndarray)) and np.ndim(seed) == 1 and len(seed):
        return [whole_number("seed", part, 0) for part in seed]
    return whole_number("seed", seed, 0)


def _array(name: str, values: Any) -> np.ndarray:
    try:
        array = ops.convert_to_numpy(values) if ops.is_tensor(values) else np.asarray(values)
    except ValueError as error:
        raise ValueError(f"{name} must be an array; received rows of different lengths.") from error
    if array.dtype.name == "bfloat16":
        # Not a type of NumPy's own: it has no kind.
        array = array.astype("float32")
    if not array.ndim:
        raise ValueError(f"{name} must be an array (n, ...); received {values!r}.")
    return array
