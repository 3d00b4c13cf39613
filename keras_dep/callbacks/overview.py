"""The description of a run for TensorBoard: its charts, and the settings that set it apart."""

from collections.abc import Collection
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

from keras_dep.summaries import EventWriter

CHARTS = {
    "Overview": {
        "Accuracy around each poisoned batch": ["collapse/accuracy$"],
        "Spectral radius of the Hessian": ["hessian/spectral_radius$"],
        "Share of the gradient's energy that DEP removes": ["dep/removed_energy/"],
    }
}


def describe_run(
    writer: EventWriter,
    settings: Mapping[str, Any],
    defaults: Mapping[str, Any],
    always: Collection[str] = (),
    metrics: Sequence[str] = ("result/clean", "result/pgd"),
) -> None:
    """Writes the charts of the Custom Scalars tab and the run's row in the HParams tab.

    The charts show all runs of the folder: the accuracy around each poisoned batch, of
    `CollapseWatch`; the spectral radius, of `HessianSpectrum`; and the removed energy, of
    `BoardLog`. The row has the settings that differ from their defaults. TensorBoard takes the
    columns from one run, so name with `always` the settings that vary between the runs of a folder.

    Args:
        writer: the writer of the run, before its first call of `hparams`.
        settings: dict from name to bool, number, string, `None` or a list of these.
        defaults: dict from name to the default value; settings without a default are shown.
        always: names of settings to show with their default value too.
        metrics: scalar tags to show in the row.

    Raises:
        ValueError: a setting of another kind, or a name in `always` that is no setting.

    Example:

    >>> import tempfile
    >>> settings, defaults = {"optimizer": "sgd", "tau": 2.0, "seed": 0}, {"tau": 1.1, "seed": 0}
    >>> with EventWriter(tempfile.mkdtemp()) as writer:
    ...     describe_run(writer, settings, defaults)  # shows optimizer and tau
    """
    unknown = sorted(set(always) - set(settings))
    if unknown:
        raise ValueError(
            f"always must name settings; received {unknown[0]!r}; known are {', '.join(settings)}."
        )
    shown = {
        name: value
        for name, value in settings.items()
        if name in always or name not in defaults or value != defaults[name]
    }
    writer.layout(CHARTS)
    writer.hparams(shown, metrics)
