"""Event files as TensorBoard's own reader gives them, without TensorFlow."""

import sys
import types

# TensorBoard's own switch: its readers then take their stub instead of importing TensorFlow.
sys.modules.setdefault("tensorboard.compat.notf", types.ModuleType("tensorboard.compat.notf"))


def accumulate(logdir):
    from tensorboard.backend.event_processing import plugin_event_accumulator

    return plugin_event_accumulator.EventAccumulator(
        str(logdir), size_guidance={"tensors": 0}
    ).Reload()


def plugin(accumulator, tag):
    return accumulator.SummaryMetadata(tag).plugin_data.plugin_name


def tensors(accumulator, tag):
    """List of `(step, array)`, in the order of the file."""
    from tensorboard.util import tensor_util

    return [
        (event.step, tensor_util.make_ndarray(event.tensor_proto))
        for event in accumulator.Tensors(tag)
    ]


def read_scalars(logdir):
    """Dict from tag to a list of `(step, value)`, steps ascending, the last value of each."""
    accumulator = accumulate(logdir)
    tags = [tag for tag in accumulator.Tags()["tensors"] if plugin(accumulator, tag) == "scalars"]
    # Of a purged tag an empty list is left.
    points = {
        tag: {step: float(value) for step, value in tensors(accumulator, tag)} for tag in tags
    }
    return {tag: sorted(points[tag].items()) for tag in tags if points[tag]}


def enum_name(message, field):
    kinds = message.DESCRIPTOR.fields_by_name[field].enum_type.values_by_number
    return kinds[getattr(message, field)].name
