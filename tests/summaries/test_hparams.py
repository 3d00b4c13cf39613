"""The HParams tab's records, read back as its plugin reads them."""

import numpy as np
import pytest

from keras_dep.summaries import EventWriter
from tests.support.event_files import accumulate
from tests.support.event_files import enum_name

HPARAMS = {
    "rate": (0.1, "number_value", 0.1),
    "epochs": (np.int64(3), "number_value", 3.0),
    "augment": (False, "bool_value", False),
    "model": ("vgg5", "string_value", "vgg5"),
    "widths": ([1, 2], "string_value", "[1, 2]"),
    "limit": (None, "string_value", "None"),
    "radius": (float("inf"), "string_value", "inf"),
}


@pytest.mark.parametrize("status", ["success", "failure"])
def test_hparams_session_is_read_back(tmp_path, status):
    from tensorboard.plugins.hparams import metadata

    writer = EventWriter(tmp_path)
    writer.hparams({name: given for name, (given, _, _) in HPARAMS.items()}, ["acc", "loss"])
    writer.close(status)
    content = accumulate(tmp_path).PluginTagToContent(metadata.PLUGIN_NAME)
    experiment = metadata.parse_experiment_plugin_data(content[metadata.EXPERIMENT_TAG])
    start = metadata.parse_session_start_info_plugin_data(content[metadata.SESSION_START_INFO_TAG])
    end = metadata.parse_session_end_info_plugin_data(content[metadata.SESSION_END_INFO_TAG])
    assert [info.name.tag for info in experiment.metric_infos] == ["acc", "loss"]
    for info, (name, (_, field, value)) in zip(
        experiment.hparam_infos, HPARAMS.items(), strict=True
    ):
        assert info.name == name
        assert start.hparams[name].WhichOneof("kind") == field
        assert getattr(start.hparams[name], field) == value
        kind = {"number_value": "FLOAT64", "bool_value": "BOOL", "string_value": "STRING"}[field]
        assert enum_name(info, "type") == f"DATA_TYPE_{kind}"
    assert len(start.hparams) == len(HPARAMS)
    assert enum_name(end, "status") == f"STATUS_{status.upper()}"


@pytest.mark.parametrize(
    ("error", "status"),
    [(None, "SUCCESS"), (RuntimeError, "FAILURE"), (KeyboardInterrupt, None)],
)
def test_context_manager_closes_with_the_status(tmp_path, error, status):
    from tensorboard.plugins.hparams import metadata

    try:
        with EventWriter(tmp_path) as writer:
            writer.hparams({"rate": 0.1}, ["acc"])
            if error is not None:
                raise error
    except (RuntimeError, KeyboardInterrupt) as raised:
        assert type(raised) is error
    content = accumulate(tmp_path).PluginTagToContent(metadata.PLUGIN_NAME)
    assert (metadata.SESSION_END_INFO_TAG in content) == (status is not None)
    if status is not None:
        end = metadata.parse_session_end_info_plugin_data(content[metadata.SESSION_END_INFO_TAG])
        assert enum_name(end, "status") == f"STATUS_{status}"
