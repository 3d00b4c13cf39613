"""Checks whether a model's robustness is an effect of obfuscated gradients.

A network can survive an attack because it is robust, or because its gradient leads nowhere. Each
check looks for one symptom of the latter. Its result holds the measurements, the criterion, the
evidence, and whether it is passed.
"""

import dataclasses
import os
from collections.abc import Iterable
from collections.abc import Sequence

import keras

from keras_dep import distribution
from keras_dep._internal import records
from keras_dep._internal.types import ArrayLike
from keras_dep._internal.types import Record
from keras_dep.evaluation import accuracy
from keras_dep.evaluation import metadata
from keras_dep.evaluation import saved
from keras_dep.evaluation.obfuscation import CHECKS
from keras_dep.evaluation.obfuscation.check_result import is_passed
from keras_dep.evaluation.obfuscation.context import EvaluationContext


def checklist(
    model: keras.Model,
    images: ArrayLike,
    labels: ArrayLike,
    *,
    epsilon: float = 8 / 255,
    substitutes: Iterable[keras.Model] = (),
    steps: int = 50,
    restarts: int = 5,
    queries: int = 5000,
    draws: int = 10000,
    seed: int = 0,
    batch_size: int = 128,
    significance: float = 0.01,
    checks: Iterable[int] | None = None,
    file: str | os.PathLike[str] | None = None,
    verbose: int = 0,
) -> list[Record]:
    """Runs the checks for obfuscated gradients.

    Few images show a few exceptions by chance: a check fails where its criterion is missed by more
    than chance explains, in an exact test on the images that count. The intervals of the evidence
    show what that leaves open; they narrow with the number of images.

    Args:
        model: a `keras.Model` from images in [0, 1] to logits.
        images: array `(n, ...)` in [0, 1].
        labels: whole numbers `(n,)` or `(n, 1)`, or one-hot rows `(n, classes)`.
        epsilon: radius of the L-infinity ball in pixel units.
        substitutes: independently trained models to transfer from; check 2 needs two or more for
            its full weight.
        steps: steps of the iterative attacks; check 6 goes up to 20 times as many.
        restarts: starts of PGD; check 6 goes up to 4 times as many.
        queries: queries of Square.
        draws: random points per image, corners and uniform ones each.
        seed: seed of every attack.
        batch_size: images at a time.
        significance: probability of failing a check whose criterion is just met, in (0, 1).
        checks: numbers of the checks to run; default: all.
        file: JSON file of the results and the protocol they were measured by. Written after every
            check; checks that a file of the same protocol holds are not run again.
        verbose: 1 for a bar over the checks.

    Returns:
        List of results, dictionaries of `number`, `name`, `measured` (a dictionary), `criterion`,
        `evidence` and `passed`, which is `None` where the check does not apply to this model. Where
        attacks do not reach all spikes, `measured` says why as `left_out`, and the check is not
        passed. A non-finite answer is an error; check 7 counts them, and fails. Each piece of
        evidence holds a count and what it is `of`, their 95 % Wilson `interval`, the `limit` of
        their share, and the `p_value` of an excess. Accuracies count images that were right to
        begin with; shares are of all images unless said otherwise.

    Raises:
        ValueError: no images, images that are not finite or outside [0, 1], labels that do not fit
            them or the model's classes, a model that answers with probabilities, an unknown check,
            an argument outside its limits, or a file of another checklist.

    Source: Athalye et al., ICML 2018, checks 1 to 5; the others are particular to spiking networks.

    Example:

    >>> import numpy as np
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    >>> x, y = np.full((6, 4), 0.5, "float32"), np.zeros(6, "int32")
    >>> [result["name"] for result in checklist(model, x, y, checks=[1], steps=2, restarts=1)]
    ['one step beats many']
    """
    images, labels = accuracy.check_data(model, images, labels, batch_size)
    numbers = tuple(CHECKS) if checks is None else known_checks(checks)
    if not 0 < significance < 1:
        raise ValueError(f"significance must lie in (0, 1); received {significance}; try 0.01.")
    context = EvaluationContext(
        model=model,
        images=images,
        labels=labels,
        substitutes=tuple(substitutes),
        epsilon=epsilon,
        steps=steps,
        restarts=restarts,
        queries=queries,
        draws=draws,
        seed=seed,
        batch_size=batch_size,
    )
    wanted = _protocol(context)
    kept = saved.checklist(file)
    # The chief reads the file, for all workers.
    read = distribution.workers().of_chief(kept.read(wanted))
    record = read or {"protocol": wanted, "checks": []}
    known = {result["number"]: result for result in record["checks"]}
    bar = keras.utils.Progbar(len(numbers), verbose=verbose, unit_name="check")
    for done, number in enumerate(numbers, 1):
        if number not in known:
            known[number] = records.plain({"number": number, **CHECKS[number](context).record()})
        # Nothing else depends on the significance.
        known[number]["passed"] = is_passed(known[number], significance)
        record["checks"] = [known[each] for each in sorted(known)]
        kept.write(record)
        bar.update(done)
    return [known[number] for number in numbers]


def known_checks(numbers: Iterable[int]) -> tuple[int, ...]:
    """Returns numbers of checks as a tuple, or raises `ValueError` where there is no such check."""
    if unknown := set(numbers) - set(CHECKS):
        raise ValueError(f"checks must be among {list(CHECKS)}; received {sorted(unknown)}.")
    return tuple(numbers)


def checklist_table(results: Sequence[Record]) -> str:
    """Returns the results of `checklist` as a Markdown table, with the evidence behind each.

    Example:

    >>> facts = {"name": "a", "criterion": "b", "measured": {"c": 0.5}, "evidence": []}
    >>> print(checklist_table([{"number": 1, "passed": True, **facts}]).splitlines()[-1])
    | 1 | a | c 0.5 |  | b | yes |
    """
    lines = [
        "| | symptom of obfuscation | measured | evidence | criterion | passed |",
        "|---|---|---|---|---|---|",
    ]
    verdict = {True: "yes", False: "**no**", None: "not applicable"}
    for result in results:
        measured = ", ".join(
            f"{name} {_brief(value)}" for name, value in result["measured"].items()
        )
        evidence = "; ".join(map(_evidence, result["evidence"]))
        cells = (result["number"], result["name"], measured, evidence, result["criterion"])
        left_out = result["passed"] is None and "left_out" in result["measured"]
        passed = "**left out**" if left_out else verdict[result["passed"]]
        lines.append(f"| {' | '.join(map(str, cells))} | {passed} |")
    return "\n".join(lines) + "\n"


def _protocol(context):
    """Returns the settings that determine the results, as plain values."""
    effort = {
        field.name: getattr(context, field.name)
        for field in dataclasses.fields(context)
        if field.type in (int, float)
    }
    del effort["batch_size"]
    return {
        **metadata.describe(context.model),
        **metadata.surroundings(),
        **effort,
        "images": len(context.images),
        "data": metadata.fingerprint(context.images, context.labels),
        "weights": metadata.of_weights(context.model),
        "substitutes": [metadata.of_weights(each) for each in context.substitutes],
    }


def _evidence(found):
    low, high = found["interval"]
    return (
        f"{found['what']}: {found['count']} of {found['of']}, {100 * low:.3g} to {100 * high:.3g} "
        f"%, p {found['p_value']:.2g}"
    )


def _brief(value):
    if value is None:
        return "not finite"
    return f"{value:.4g}" if isinstance(value, float) else value
