"""TensorBoard's own readers, without TensorFlow."""

import sys
import types

import pytest


@pytest.fixture(autouse=True)
def _tensorboard_without_tensorflow(monkeypatch):
    # TensorBoard's own switch: its readers then take their stub instead of importing TensorFlow.
    switch = "tensorboard.compat.notf"
    monkeypatch.setitem(sys.modules, switch, types.ModuleType(switch))


def accumulate(logdir):
    from tensorboard.backend.event_processing import plugin_event_accumulator

    return plugin_event_accumulator.EventAccumulator(
        str(logdir), size_guidance={"tensors": 0}
    ).Reload()


def enum_name(message, field):
    kinds = message.DESCRIPTOR.fields_by_name[field].enum_type.values_by_number
    return kinds[getattr(message, field)].name
