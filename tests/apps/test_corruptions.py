"""The suite of corrupted images of the attack app, on small prepared folders."""

import json

import keras
import numpy as np
import pytest

from apps import attack
from tests.support import prepared_cifar
from tests.support.event_files import read_scalars


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    pytest.importorskip("tensorflow_datasets")
    folder = tmp_path_factory.mktemp("cifar")
    with pytest.MonkeyPatch.context() as patch:
        prepared_cifar.prepare_cifar10(folder, patch)
        prepared_cifar.prepare_corrupted(folder, patch, ["fog", "snow"], severities=2)
    keras.utils.set_random_seed(0)
    body = [keras.layers.AveragePooling2D(8), keras.layers.Flatten(), keras.layers.Dense(10)]
    keras.Sequential([keras.Input((32, 32, 3)), *body]).save(folder / "net.keras")
    return folder


@pytest.fixture
def launch(tmp_path, root):
    def run(*arguments):
        attack.FLAGS.unparse_flags()
        for name in attack.FLAGS:
            attack.FLAGS[name].unparse()
        usual = f"--model={root / 'net.keras'}", "--dataset=cifar10", f"--data_dir={root / 'tfds'}"
        out = f"--out_dir={tmp_path / 'out'}", "--suite=corruptions", "--verbose=0"
        with pytest.raises(SystemExit) as caught:
            attack.launch(["attack.py", *usual, *out, *arguments])
        return caught.value.code or 0

    return run


CHOSEN = "--corruptions=fog,snow", "--severities=1,2", "--examples=9"


def test_table_figure_and_baseline(launch, capsys, tmp_path):
    assert launch(*CHOSEN) == 0
    shown, out = capsys.readouterr().out, tmp_path / "out"
    record = json.loads((out / "corruptions.json").read_text())
    assert record["finished"] and record["clean"]["images"] == 9
    assert [point["images"] for point in record["points"]] == [9] * 4
    assert (out / "corruptions.md").read_text() in shown
    error = 1 - np.mean([point["accuracy"] for point in record["points"]])
    assert f"not normalised by a baseline: {100 * error:.2f} %" in shown
    for name in ("corruptions.csv", "corruptions.png", "corruptions.svg"):
        assert (out / name).stat().st_size > 50
    ((_, mean),) = read_scalars(out)["corruptions/mean_error"]
    np.testing.assert_allclose(mean, error, rtol=1e-6)
    # The same command again reads the file; the model as its own baseline has as many errors.
    assert launch(*CHOSEN, f"--baseline={out / 'corruptions.json'}") == 0
    assert "corruptions.json: 100.00 % (100 % is" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--severities=1,2"], "cifar10_corrupted/gaussian_noise_1 expected in"),
        (["--corruptions=fog"], "cifar10_corrupted/fog_3 expected in"),
        (["--corruptions=smoke"], "corruption must be one of gaussian_noise"),
        (["--severities=6"], "severity must be one of 1, 2, 3, 4, 5; received 6"),
        (["--dataset=digits"], "dataset must be cifar10 for suite=corruptions (CIFAR-10-C); rec"),
        ([*CHOSEN, "--sweep=epsilon"], "sweep is for suites of attacks; received suite=corruption"),
        ([*CHOSEN, "--baseline=nowhere"], "nowhere is not there; name a corruptions.json"),
        ([*CHOSEN, "--suite=quick"], "corruptions is for suite=corruptions alone; received suite="),
    ],
)
def test_a_mistake_is_one_line(launch, capsys, arguments, words):
    assert launch(*arguments) == 2
    message = capsys.readouterr().err.strip().splitlines()
    assert len(message) == 1 and words in message[0], message
