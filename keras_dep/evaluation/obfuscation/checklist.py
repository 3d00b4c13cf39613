"""Signs of obfuscated gradients, measured: which of them a model shows.

A network can survive an attack because it is robust, or because its gradient leads nowhere. Each
row is one sign of the latter, with what was measured, the criterion, the evidence, and whether it
is passed.
"""

import dataclasses

import keras

from keras_dep._internal import records
from keras_dep.evaluation import accuracy
from keras_dep.evaluation import metadata
from keras_dep.evaluation import saved
from keras_dep.evaluation.obfuscation import SIGNS
from keras_dep.evaluation.obfuscation.check_result import is_passed
from keras_dep.evaluation.obfuscation.context import EvaluationContext


def checklist(
    model,
    images,
    labels,
    *,
    epsilon=8 / 255,
    substitutes=(),
    steps=50,
    restarts=5,
    queries=5000,
    draws=10000,
    seed=0,
    batch_size=128,
    significance=0.01,
    rows=None,
    file=None,
    verbose=0,
):
    """Measures the signs of gradient obfuscation, one row each.

    Few images show a few exceptions by chance: a row fails where its criterion is missed by more
    than chance explains, in an exact test on the images that count. What that leaves open is in the
    intervals of the evidence, which narrow with the number of images.

    Args:
        model: a `keras.Model` from images in [0, 1] to logits.
        images: array `(n, ...)` in [0, 1].
        labels: whole numbers `(n,)` or `(n, 1)`, or one-hot rows `(n, classes)`.
        epsilon: radius of the L-infinity ball in pixel units.
        substitutes: independently trained models to transfer from; two or more give row 2 its full
            weight.
        steps: steps of the iterative attacks; row 6 goes up to 20 times as many.
        restarts: starts of PGD; row 6 goes up to 4 times as many.
        queries: queries of Square.
        draws: random points per image, corners and uniform ones each.
        seed: seed of every attack.
        batch_size: images at a time.
        significance: probability of failing a row whose criterion is just met, in (0, 1).
        rows: numbers of the rows to measure; default: all.
        file: where rows go, as JSON, with the protocol they were measured by. Written after every
            row; rows that a file of the same protocol holds are not measured again.
        verbose: 1 for a bar over the rows.

    Returns:
        List of rows, dictionaries of `number`, `sign`, `measured` (a dictionary), `criterion`,
        `evidence` and `passed`, which is `None` where the sign cannot be measured on this model.
        Where attacks do not reach all spikes, `measured` says why as `left_out`, and the row is not
        passed. An answer that is not finite is an error; row 7 counts and fails them.
        Each piece of evidence holds a count and what it is `of`, their 95 % Wilson `interval`, the
        `limit` of their share, and the `p_value` of an excess. Accuracies count images that were
        right to begin with; shares are of all images unless said otherwise.

    Raises:
        ValueError: images that are none, not finite or outside [0, 1], labels that do not fit them
            or the model's classes, an unknown row, an argument outside its limits, or a file of
            another checklist.

    Source: Athalye et al., ICML 2018, signs 1 to 5; the others are particular to spiking networks.
    """
    images, labels = accuracy.check_data(model, images, labels, batch_size)
    rows = tuple(SIGNS) if rows is None else check_rows(rows)
    if not 0 < significance < 1:
        raise ValueError(f"significance must lie in (0, 1); received {significance}; try 0.01.")
    bench = EvaluationContext(
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
    wanted = _protocol(bench)
    record = saved.checklist(file, wanted) or {"protocol": wanted, "rows": []}
    known = {row["number"]: row for row in record["rows"]}
    bar = keras.utils.Progbar(len(rows), verbose=verbose, unit_name="row")
    for done, number in enumerate(rows, 1):
        if number not in known:
            known[number] = records.plain({"number": number, **SIGNS[number](bench)})
        # The verdict alone depends on the significance.
        known[number]["passed"] = is_passed(known[number], significance)
        record["rows"] = [known[each] for each in sorted(known)]
        _save(file, record)
        bar.update(done)
    return [known[number] for number in rows]


def _protocol(bench):
    """What decides the rows, as plain values."""
    effort = {
        field.name: getattr(bench, field.name)
        for field in dataclasses.fields(bench)
        if field.type in (int, float)
    }
    del effort["batch_size"]
    return {
        **metadata.describe(bench.model),
        **metadata.surroundings(),
        **effort,
        "images": len(bench.images),
        "data": metadata.fingerprint(bench.images, bench.labels),
        "weights": metadata.fingerprint(*bench.model.get_weights()),
        "substitutes": [metadata.fingerprint(*each.get_weights()) for each in bench.substitutes],
    }


def _save(file, record):
    if file is not None:
        records.write(file, record)


def check_rows(rows):
    """Returns numbers of rows as a tuple, raises `ValueError` where there is no such row."""
    if unknown := set(rows) - set(SIGNS):
        raise ValueError(f"rows must be among {list(SIGNS)}; received {sorted(unknown)}.")
    return tuple(rows)


def checklist_table(rows):
    """The rows as a Markdown table, with the evidence behind each."""
    lines = [
        "| | sign of obfuscation | measured | evidence | criterion | passed |",
        "|---|---|---|---|---|---|",
    ]
    verdict = {True: "yes", False: "**no**", None: "not applicable"}
    for row in rows:
        measured = ", ".join(f"{name} {_brief(value)}" for name, value in row["measured"].items())
        evidence = "; ".join(map(_evidence, row["evidence"]))
        cells = (row["number"], row["sign"], measured, evidence, row["criterion"])
        left_out = row["passed"] is None and "left_out" in row["measured"]
        passed = "**left out**" if left_out else verdict[row["passed"]]
        lines.append(f"| {' | '.join(map(str, cells))} | {passed} |")
    return "\n".join(lines) + "\n"


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
