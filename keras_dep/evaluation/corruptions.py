"""Accuracy on corrupted images, by corruption and severity, and the mean corruption error."""

import os
from collections.abc import Callable
from collections.abc import Sequence

import keras
import numpy as np

from keras_dep._internal import records
from keras_dep._internal.resumable import ResumableFile
from keras_dep._internal.types import ArrayLike
from keras_dep._internal.types import Record
from keras_dep.evaluation import accuracy
from keras_dep.evaluation import metadata
from keras_dep.evaluation import saved

POINT: Record = {
    **saved.PROPORTION,
    "corruption": str,
    "severity": int,
    "non_finite_answers": int,
    "data": str,
}
SCHEMA: Record = {
    "finished": bool,
    "protocol": dict,
    "clean": {**saved.PROPORTION, "non_finite_answers": int},
    "points": [POINT],
}


def evaluate_corruptions(
    model: keras.Model,
    images: ArrayLike,
    labels: ArrayLike,
    load: Callable[[str, int], tuple[ArrayLike, ArrayLike]],
    corruptions: Sequence[str],
    severities: Sequence[int],
    *,
    batch_size: int = 128,
    file: str | os.PathLike[str] | None = None,
    facts: Record | None = None,
    verbose: int = 1,
) -> Record:
    """Measures the accuracy under each corruption at each severity.

    Args:
        model: a built `keras.Model` from images in [0, 1] to logits.
        images: the clean images `(n, ...)` in [0, 1].
        labels: their labels, as in `keras_dep.evaluate`.
        load: function `(corruption, severity) -> (images, labels)`, images in [0, 1].
        corruptions: names for `load`.
        severities: numbers for `load`.
        batch_size: images at a time.
        file: JSON file of the result, written after each point. An unfinished file of the same
            evaluation is resumed, and a finished one is returned.
        facts: further protocol variables to record, a dictionary of plain values.
        verbose: 0 for silence, else a line per point.

    Returns:
        Dictionary, as in the file: `protocol`, `finished`, `clean`, and `points`, a list of
        dictionaries of `corruption`, `severity`, `accuracy`, its 95 % `interval`, `correct`,
        `images`, `non_finite_answers` and `data`, a hash of the images and labels.

    Raises:
        ValueError: images or labels that `keras_dep.evaluate` would refuse, a model that answers
            with probabilities, no corruptions or severities, or a file of another evaluation.

    Example:

    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    >>> x, y = np.full((6, 4), 0.5, "float32"), np.zeros(6, "int32")
    >>> load = lambda corruption, severity: (x * (1 - severity / 10), y)
    >>> found = evaluate_corruptions(model, x, y, load, ["fog"], [1, 2], verbose=0)
    >>> len(found["points"]), 0 <= mean_corruption_error(found["points"]) <= 1
    (2, True)
    """
    if not len(corruptions) or not len(severities):
        raise ValueError(
            "corruptions and severities must have at least one entry each; received "
            f"{list(corruptions)} and {list(severities)}."
        )
    images, labels = accuracy.check_data(model, images, labels, batch_size)
    right, finite = accuracy.clean(model, images, labels, batch_size)
    record: Record = {
        "protocol": {
            **metadata.describe(model),
            **metadata.surroundings(),
            "suite": "corruptions",
            "corruptions": list(corruptions),
            "severities": [int(each) for each in severities],
            "images": len(images),
            "data": metadata.fingerprint(images, labels),
            "weights": metadata.of_weights(model),
        },
        "finished": False,
        "clean": _counted(right, finite),
        "points": [],
    }
    record["protocol"] = metadata.with_facts(record["protocol"], facts)
    kept = ResumableFile(path=file, what="an evaluation of corruptions", schema=SCHEMA)
    record = kept.read(record["protocol"]) or record
    known = {(each["corruption"], each["severity"]) for each in record["points"]}
    for corruption in corruptions:
        for severity in severities:
            if (corruption, severity) in known:
                continue
            corrupted, truth = accuracy.check_data(model, *load(corruption, severity), batch_size)
            point = {
                "corruption": corruption,
                "severity": int(severity),
                **_counted(*accuracy.judged(model, corrupted, truth, batch_size)),
                "data": metadata.fingerprint(corrupted, truth),
            }
            record["points"].append(point)
            kept.write(record)
            if verbose:
                share = f"{100 * point['accuracy']:.2f} %"
                print(f"{corruption} {severity}: {share}", flush=True)
    record["finished"] = True
    kept.write(record)
    return record


def mean_corruption_error(
    points: Sequence[Record], baseline: Sequence[Record] | None = None
) -> float:
    """The mean over corruptions of the corruption error.

    Without a baseline, the error under a corruption is the mean over its severities, and the result
    is the mean error, which is usual for CIFAR-10-C. With one, the errors of a corruption, summed
    over its severities, are divided by those of the baseline, and 1 means as many errors as the
    baseline. The source takes AlexNet for ImageNet-C; for CIFAR-10-C there is no such convention,
    so name the baseline beside the number.

    Args:
        points: those of `evaluate_corruptions`.
        baseline: those of another model under the same corruptions and severities, or `None`.

    Returns:
        The mean corruption error, a fraction of 1.

    Raises:
        ValueError: the baseline has other corruptions or severities, or no error under one of them.

    Reference:

    - Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and
      Perturbations", ICLR 2019 (https://arxiv.org/abs/1903.12261), section 4.

    Example:

    >>> fog = [{"corruption": "fog", "severity": 1, "accuracy": 0.7}]
    >>> round(mean_corruption_error(fog), 6)
    0.3
    >>> round(mean_corruption_error(fog, [{**fog[0], "accuracy": 0.4}]), 6)
    0.5
    """
    errors = errors_by_corruption(points)
    if baseline is None:
        return float(np.mean([np.mean(list(each.values())) for each in errors.values()]))
    others = errors_by_corruption(baseline)
    wanted, given = ({(c, s) for c, each in e.items() for s in each} for e in (errors, others))
    if wanted - given:
        corruption, severity = min(wanted - given)
        raise ValueError(
            "baseline must have every corruption and severity of the points; received none for "
            f"{corruption} {severity}; measure it with the same flags."
        )
    ratios = []
    for corruption, each in errors.items():
        other = sum(others[corruption][severity] for severity in each)
        if not other:
            raise ValueError(
                f"baseline must make errors under each corruption; received none for {corruption}; "
                "take another baseline, or none."
            )
        ratios.append(sum(each.values()) / other)
    return float(np.mean(ratios))


def errors_by_corruption(points: Sequence[Record]) -> dict[str, dict[int, float]]:
    """The error at each severity, by corruption, in the order of the points."""
    found: dict[str, dict[int, float]] = {}
    for point in points:
        found.setdefault(point["corruption"], {})[point["severity"]] = 1 - point["accuracy"]
    return found


def read_points(path: str | os.PathLike[str]) -> Record:
    """Reads a finished file of `evaluate_corruptions`, for example as a baseline.

    Raises:
        ValueError: the file is missing, damaged or unfinished; one line with its name.
    """
    if not os.path.isfile(path):
        raise ValueError(f"{path} is not there; name a corruptions.json of another model.")
    mend = "name a corruptions.json of another model"
    record = records.read(path, SCHEMA, mend)
    if not record["finished"]:
        raise ValueError(f"{path} is not finished; run its command again, then this one.")
    return record


def _counted(right, finite):
    found = accuracy.proportion(int(right.sum()), len(right))
    return {**found, "non_finite_answers": int((~finite).sum())}
