"""The three records of the HParams tab: columns, a run's row, and its end."""

import math
import time

import numpy as np

from keras_dep.summaries.values import brief


def begun(board, values, metrics):
    """Columns and row of a run, as `(tag, contents)` each; see `EventWriter.hparams`."""
    if isinstance(metrics, str) or not all(isinstance(tag, str) for tag in metrics):
        raise ValueError(
            f"metrics must be a list of scalar tags; received {metrics!r}; "
            "write for example ['accuracy']."
        )
    kinds = {str(name): _kind(name, value) for name, value in values.items()}
    now = time.time()
    session = board.hparams_data.SessionStartInfo(start_time_secs=now)
    for name, (value, field, _) in kinds.items():
        setattr(session.hparams[name], field, value)
    experiment = board.hparams_api.Experiment(
        hparam_infos=[{"name": name, "type": kind} for name, (_, _, kind) in kinds.items()],
        metric_infos=[{"name": {"tag": tag}} for tag in metrics],
        time_created_secs=now,
    )
    return [
        (board.hparams.EXPERIMENT_TAG, {"experiment": experiment}),
        (board.hparams.SESSION_START_INFO_TAG, {"session_start_info": session}),
    ]


def ended(board, status):
    """End of a run with `"success"` or `"failure"`, as `(tag, contents)`."""
    end = {"status": f"STATUS_{status.upper()}", "end_time_secs": time.time()}
    return board.hparams.SESSION_END_INFO_TAG, {"session_end_info": end}


def _kind(name, value):
    """The value as the HParams tab can hold it, with its field and its data type."""
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, bool):
        return value, "bool_value", "DATA_TYPE_BOOL"
    if isinstance(value, (int, float)) and math.isfinite(value):
        return float(value), "number_value", "DATA_TYPE_FLOAT64"
    # The format has no lists, no `None` and no infinities: they are shown as text.
    if value is None or isinstance(value, (str, int, float, list, tuple)):
        return str(value), "string_value", "DATA_TYPE_STRING"
    raise ValueError(
        "values must hold booleans, numbers, strings, None or lists of these; "
        f"received values[{name!r}]={brief(value)}; convert it with str()."
    )
