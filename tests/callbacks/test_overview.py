"""What `describe_run` writes, read back as TensorBoard's plugins read it."""

import re

import pytest

from keras_dep.callbacks import describe_run
from keras_dep.callbacks import overview
from keras_dep.summaries import EventWriter
from tests.support.event_files import accumulate
from tests.support.event_files import tensors

DEFAULTS = {"tau": 1.1, "seed": 0, "width": None, "limit": 3}


def described(folder, settings, **options):
    """The columns and the row of a run."""
    from tensorboard.plugins.hparams import metadata

    with EventWriter(folder) as writer:
        describe_run(writer, settings, DEFAULTS, **options)
    content = accumulate(folder).PluginTagToContent(metadata.PLUGIN_NAME)
    experiment = metadata.parse_experiment_plugin_data(content[metadata.EXPERIMENT_TAG])
    start = metadata.parse_session_start_info_plugin_data(content[metadata.SESSION_START_INFO_TAG])
    row = {name: getattr(value, value.WhichOneof("kind")) for name, value in start.hparams.items()}
    assert {info.name for info in experiment.hparam_infos} == set(row)
    return row, [info.name.tag for info in experiment.metric_infos]


def test_settings_other_than_the_defaults_are_shown(tmp_path):
    settings = {"optimizer": "sgd", "tau": 2.0, "seed": 0, "width": 0.5, "limit": None}
    row, metrics = described(tmp_path, settings)
    assert row == {"optimizer": "sgd", "tau": 2.0, "width": 0.5, "limit": "None"}
    assert metrics == ["result/clean", "result/pgd"]


def test_named_settings_are_shown_with_their_defaults(tmp_path):
    settings = {"optimizer": "dep", **DEFAULTS}
    row, metrics = described(tmp_path, settings, always=("seed",), metrics=["accuracy"])
    assert row == {"optimizer": "dep", "seed": 0.0} and metrics == ["accuracy"]


def test_unknown_names_are_refused(tmp_path):
    with pytest.raises(ValueError, match="received 'tua'; known are tau, seed") as raised:
        described(tmp_path, DEFAULTS, always=("tua",))
    assert "\n" not in str(raised.value)


def test_charts_match_the_tags_of_the_callbacks_and_no_others(tmp_path):
    from tensorboard.plugins.custom_scalar import layout_pb2

    described(tmp_path, DEFAULTS)
    [(_, content)] = tensors(accumulate(tmp_path), "custom_scalars__config__")
    (category,) = layout_pb2.Layout.FromString(content.item()).category
    tags = {
        "collapse/accuracy",
        "poison/accuracy_before",
        "hessian/spectral_radius",
        "hessian/lambda_1",
        "dep/removed_energy/conv1/kernel",
        "dep/leading_value/conv1/kernel",
    }
    # TensorBoard matches from the first character on.
    found = [
        {tag for tag in tags for pattern in chart.multiline.tag if re.match(pattern, tag)}
        for chart in category.chart
    ]
    assert found == [
        {"collapse/accuracy"},
        {"hessian/spectral_radius"},
        {"dep/removed_energy/conv1/kernel"},
    ]
    assert [chart.title for chart in category.chart] == list(overview.CHARTS["Overview"])
