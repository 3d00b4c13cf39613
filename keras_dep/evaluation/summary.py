"""The numbers of an evaluation without its images: small enough for the result of a run."""

from keras_dep._internal.types import Record

# Numbers of each attack; `targets` and `standing` serve an unfinished file alone.
KEPT = (
    "counts",
    "accuracy",
    "interval",
    "attacked",
    "broken",
    "non_finite_answers",
    "largest_change",
)


def summary(record: Record) -> Record:
    """Sums up a finished evaluation.

    Args:
        record: what `keras_dep.evaluate` returned.

    Returns:
        Dictionary of plain values, without anything per image: `suite`, `early_exit`, `reliable`,
        `left_out`, `images`, `clean`, `worst_case`, `gradients`, and `attacks`, by name a
        dictionary of `counts`, `accuracy`, `interval`, `attacked`, `broken`, `non_finite_answers`
        and `largest_change`.

    Example:

    >>> import keras, numpy as np
    >>> from keras_dep import evaluate
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    >>> x, y = np.full((6, 4), 0.5, "float32"), np.zeros(6, "int32")
    >>> found = summary(evaluate(model, x, y, suite="paper", verbose=0))
    >>> sorted(found["attacks"]), found["images"]
    (['fgsm', 'pgd-7'], 6)
    """
    return {
        "suite": record["protocol"]["suite"],
        "early_exit": record["protocol"]["early_exit"],
        "reliable": record["reliable"],
        "left_out": record["left_out"],
        "images": record["clean"]["images"],
        "clean": record["clean"],
        "worst_case": record["worst_case"],
        "gradients": record["gradients"],
        "attacks": {
            each["attack"]: {name: each[name] for name in KEPT} for each in record["attacks"]
        },
    }
