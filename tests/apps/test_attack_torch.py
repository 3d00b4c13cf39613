"""The attack app on torch modules: weights, shapes and mistakes."""

import json

import keras
import numpy as np
import pytest

from apps import attack

if keras.backend.backend() != "torch":
    pytest.skip("the networks are modules of torch", allow_module_level=True)

torch = pytest.importorskip("torch")
pytest.importorskip("spikingjelly.activation_based.neuron")

SOURCE = """
import torch
from spikingjelly.activation_based import neuron

def make():
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(64, 16), neuron.LIFNode(), torch.nn.Linear(16, 10)
    )

def few():
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 5))

def fails():
    raise RuntimeError("no weights")

def text():
    return "a network"
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "net.py").write_text(SOURCE)
    names = {}
    exec(SOURCE, names)
    module = names["make"]()
    weights = {name: 3 * each for name, each in module.state_dict().items()}
    torch.save({"state_dict": {f"module.{k}": v for k, v in weights.items()}}, tmp_path / "net.pth")
    torch.save(names["few"]().state_dict(), tmp_path / "few.pth")
    (tmp_path / "text.pth").write_text("no weights")
    torch.save(module, tmp_path / "module.pth")
    return tmp_path


def launch(folder, *arguments):
    attack.FLAGS.unparse_flags()
    for name in attack.FLAGS:
        attack.FLAGS[name].unparse()
    given = [f"--out_dir={folder / 'out'}", "--dataset=digits", "--examples=12", "--verbose=0"]
    argv = ["attack.py", *given, *(each.replace("DIR", str(folder)) for each in arguments)]
    with pytest.raises(SystemExit) as caught:
        attack.launch(argv)
    return caught.value.code or 0


NETWORK = ("--torch=DIR/net.py:make", "--input_shape=1,8,8", "--timesteps=2")


def test_a_module_is_attacked_with_its_weights(folder):
    options = ("--weights=DIR/net.pth", "--mean=0.3", "--std=0.4", "--pictures=1")
    assert launch(folder, *NETWORK, *options) == 0
    record = json.loads((folder / "out/evaluation.json").read_text())
    assert record["protocol"]["normalization"] == "inside the model"
    assert record["protocol"]["model_file"] == "net.py:make"
    assert record["protocol"]["weights_file"] == "net.pth"
    assert record["protocol"]["neurons"][0]["kind"] == "LIFNode of spikingjelly"
    assert "apgd-ce-20" in [each["attack"] for each in record["attacks"]]


def test_images_of_a_file_may_have_channels_first(folder):
    draw = np.random.default_rng(0)
    images, labels = draw.random((6, 1, 8, 8)).astype("float32"), [0, 1, 2, 3, 4, 9]
    np.savez(folder / "six.npz", images=images, labels=labels)
    assert launch(folder, *NETWORK, "--dataset=DIR/six.npz") == 0
    record = json.loads((folder / "out/evaluation.json").read_text())
    assert record["protocol"]["data_format"] == "channels_first"
    assert record["clean"]["images"] == 6


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--torch=net", "--input_shape=1,8,8"], "torch must be FILE.py:FUNCTION; received 'net'"),
        (["--torch=DIR/no.py:make", "--input_shape=1,8,8"], "no.py', which is not there"),
        (["--torch=DIR/net.py:other", "--input_shape=1,8,8"], "names the function 'other'"),
        (["--torch=DIR/net.py:fails", "--input_shape=1,8,8"], "raises RuntimeError: no weights"),
        (["--torch=DIR/net.py:text", "--input_shape=1,8,8"], "'text' returns str"),
        (["--torch=DIR/net.py:make"], "input_shape must be that of an image"),
        ([*NETWORK, "--model=a.keras"], "model or torch must be given, not both"),
        (["--torch=DIR/net.py:make", "--input_shape=1,9,8"], "that of the images, (8, 8, 1)"),
        ([*NETWORK, "--weights=DIR/no.pth"], "no.pth' are not there"),
        ([*NETWORK, "--weights=DIR/text.pth"], "must be a state_dict of tensors, as torch.save"),
        ([*NETWORK, "--weights=DIR/module.pth"], "must be a state_dict of tensors, as torch.save"),
        (
            [*NETWORK, "--weights=DIR/few.pth"],
            "missing: 3.weight, 3.bias; of another shape: 1.weight (5, 64) for (16, 64), 1.bias",
        ),
        (["--torch=DIR/net.py:few", "--input_shape=1,8,8"], "answers with 5 logits; digits has 10"),
        ([*NETWORK, "--mean=0.3"], "mean and std must be given together"),
    ],
)
def test_a_mistake_is_one_line(folder, capsys, arguments, words):
    assert launch(folder, *arguments) == 2
    message = capsys.readouterr().err.strip().splitlines()
    assert len(message) == 1 and message[0].startswith("attack: ") and words in message[0], message
    assert not (folder / "out").exists()
