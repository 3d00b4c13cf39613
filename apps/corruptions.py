"""The suite of corrupted images of `apps/attack.py`: checks, measurement, table and figure."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

# The app loads this module before it has chosen a backend.
if TYPE_CHECKING:
    import keras

    from keras_dep._internal.types import Array
    from keras_dep._internal.types import Record
    from keras_dep.summaries import EventWriter


def check(dataset: str | None, corruptions: list[str], severities: list[int], data_dir: str | None):
    """Checks the flags and the prepared files, before a model is loaded.

    Args:
        dataset: name of the data set, or `None` where the run's folder names it.
        corruptions: names, or none for those of the benchmark.
        severities: numbers, or none for all.
        data_dir: the folder of prepared sets, or `None` for the user's.

    Raises:
        ValueError: another data set, an unknown corruption or severity, or a missing folder.
    """
    from keras_dep.data import corruptions as corrupted

    if dataset not in (None, "cifar10"):
        raise ValueError(
            f"dataset must be cifar10 for suite=corruptions (CIFAR-10-C); received {dataset!r}."
        )
    corrupted.check(
        corruptions or corrupted.BENCHMARK, severities or corrupted.SEVERITIES, data_dir
    )


def run(
    model: keras.Model,
    images: Array,
    labels: Array,
    facts: Record,
    *,
    corruptions: list[str],
    severities: list[int],
    baseline: str | None,
    data_dir: str | None,
    out_dir: str,
    title: str,
    batch_size: int,
    verbose: int,
    writer: EventWriter,
) -> str:
    """Measures a model on corrupted images, and writes `corruptions.*`.

    Args:
        model: the model.
        images: clean test images in [0, 1].
        labels: their labels.
        facts: protocol variables to record.
        corruptions: names, or none for those of the benchmark.
        severities: numbers, or none for all.
        baseline: a finished corruptions.json of another model, or `None`.
        data_dir: the folder of prepared sets, or `None` for the user's.
        out_dir: the folder of the results.
        title: title of the figure.
        batch_size: images at a time.
        verbose: 0 for silence.
        writer: writer of event files.

    Returns:
        The table, Markdown text.

    Raises:
        ValueError: a missing or unreadable set, or a baseline that does not fit.
    """
    from keras_dep._internal import atomic_io
    from keras_dep.data import corruptions as corrupted
    from keras_dep.data import pixels
    from keras_dep.evaluation import corruption_report
    from keras_dep.evaluation import corruptions as measuring
    from keras_dep.evaluation import report

    def load(corruption, severity):
        found, truth = corrupted.load(corruption, severity, data_dir, len(images))
        return pixels.scaled(found), truth

    other = None if baseline is None else measuring.read_points(os.path.expanduser(baseline))
    record = measuring.evaluate_corruptions(
        model,
        images,
        labels,
        load,
        corruptions or corrupted.BENCHMARK,
        severities or corrupted.SEVERITIES,
        batch_size=batch_size,
        file=os.path.join(out_dir, "corruptions.json"),
        facts=facts,
        verbose=verbose,
    )
    text = corruption_report.corruptions_markdown(record, other, baseline)
    texts = {"md": text, "csv": report.table(record["points"])}
    for ending, content in texts.items():
        path = os.path.join(out_dir, f"corruptions.{ending}")
        with atomic_io.whole_file(path) as unfinished, open(unfinished, "w") as file:
            file.write(content)
    figures = [os.path.join(out_dir, f"corruptions.{ending}") for ending in ("png", "svg")]
    corruption_report.draw_corruptions(record, figures, title)
    writer.text("corruptions", text, 0)
    writer.scalar("corruptions/clean", record["clean"]["accuracy"], 0)
    writer.scalar("corruptions/mean_error", measuring.mean_corruption_error(record["points"]), 0)
    return text
