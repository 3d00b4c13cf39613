"""Event files as dictionaries."""

import os
import warnings

from keras_dep._internal import keras_internals


def read_scalars(logdir):
    """Reads back the scalars of one run, without the steps that a restart replaced.

    Both forms are read, the tensors of current writers and the plain values of older ones. A record
    cut short by a kill ends its file with a warning.

    Args:
        logdir: the folder that holds the event files, not a parent of it.

    Returns:
        Dict from tag to a list of `(step, value)`, steps ascending; of a step written twice, the
        last value.

    Raises:
        ValueError: `logdir` is not a folder.
    """
    if not os.path.isdir(logdir):
        raise ValueError(
            f"logdir must be an existing folder; received {os.fspath(logdir)!r}; "
            "name the folder that holds the event files of one run."
        )
    parts, scalars, scalar_tags = keras_internals.tensorboard_parts(), {}, set()
    for name in sorted(name for name in os.listdir(logdir) if "tfevents" in name):
        for event in read_events(parts, os.path.join(logdir, name)):
            if event.session_log.status == parts.events.SessionLog.START:
                for tag, points in scalars.items():
                    scalars[tag] = {step: points[step] for step in points if step < event.step}
            for value in event.summary.value:
                if value.metadata.plugin_data.plugin_name == parts.scalar.PLUGIN_NAME:
                    scalar_tags.add(value.tag)
                points, kind = scalars.setdefault(value.tag, {}), value.WhichOneof("value")
                if kind == "simple_value":
                    points[event.step] = value.simple_value
                elif kind == "tensor" and value.tag in scalar_tags:
                    points[event.step] = float(parts.arrays.make_ndarray(value.tensor))
    return {tag: sorted(points.items()) for tag, points in scalars.items() if points}


def read_events(parts, path):
    """The events of one file, up to its damage if there is one; `parts`: `tensorboard_parts()`."""
    reader = parts.reader.PyRecordReader_New(path)
    while True:
        try:
            reader.GetNext()
        except parts.errors.OutOfRangeError:
            return
        except parts.errors.DataLossError as error:
            warnings.warn(f"{path} is damaged; read up to the damage ({error})", stacklevel=3)
            return
        yield parts.events.Event.FromString(reader.record())
