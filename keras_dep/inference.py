"""A model's answers on arrays, without touching its metrics."""

import numpy as np
from keras import ops

from keras_dep.losses import mean_logits


def logits(model, images, batch_size=128):
    """Time-averaged logits of a model in inference mode.

    Args:
        model: a `keras.Model` that answers `(batch, classes)` or `(batch, time, classes)`.
        images: array `(n, ...)`, `n >= 1`.
        batch_size: images per call.

    Returns:
        float32 array `(n, classes)`.

    Example:

    >>> import keras
    >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    >>> logits(model, np.zeros((5, 3), "float32")).shape
    (5, 2)
    """
    parts = []
    for start in range(0, len(images), batch_size):
        outputs = model.predict_on_batch(images[start : start + batch_size])
        parts.append(ops.convert_to_numpy(mean_logits(outputs)))
    return np.concatenate(parts).astype("float32")


def accuracy_and_loss(model, images, labels, batch_size=128):
    """Accuracy in [0, 1] and mean cross-entropy of the mean logits, as floats.

    Metrics, weights and statistics of the model stay as they are, so it may be called in a hook of
    `fit`. Arguments as in `logits`, with integer `labels` `(n,)`.
    """
    scores = logits(model, images, batch_size)
    accuracy = np.mean(scores.argmax(axis=1) == labels)
    return float(accuracy), float(np.mean(cross_entropies(scores, labels)))


def cross_entropies(scores, labels):
    """Cross-entropy of each row of logits, float64 array `(n,)`."""
    scores = np.asarray(scores, "float64")
    shifted = scores - scores.max(axis=1, keepdims=True)
    picked = shifted[np.arange(len(labels)), labels]
    return np.log(np.exp(shifted).sum(axis=1)) - picked
