"""The attack app as a person meets it: help, mistakes, results, and the same command again."""

import json
import shutil

import keras
import numpy as np
import pytest

from apps import attack
from keras_dep import LIF
from keras_dep import DirectEncoding
from keras_dep import UnfoldTime
from keras_dep import models
from keras_dep._internal import records
from keras_dep.data import pixels
from keras_dep.data import sources
from keras_dep.evaluation import metadata
from keras_dep.experiments import substitute_models
from keras_dep.experiments.settings import Settings
from tests.support import event_files
from tests.support.event_files import read_scalars

SMALL = {
    "train_examples": 16,
    "test_examples": 8,
    "batch_size": 16,
    "timesteps": 2,
    "epochs": 1,
    "poison_count": 0,
    "attack": "none",
    "attack_examples": 2,
    "watch_examples": 2,
}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    keras.utils.set_random_seed(0)
    body = [
        keras.Input((8, 8, 1)),
        keras.layers.Normalization(mean=0.5, variance=0.25),
        keras.layers.Flatten(),
        keras.layers.Dense(16),
        DirectEncoding(2),
        LIF(2),
        keras.layers.Dense(10),
        UnfoldTime(2),
    ]
    folder = tmp_path_factory.mktemp("run")
    keras.Sequential(body).save(folder / "model.keras")
    settings = {"dataset": "digits", "seed": 3, "loss": "mean_logit", **SMALL}
    (folder / "result.json").write_text(json.dumps({"optimizer": "dep", "settings": settings}))
    return folder


@pytest.fixture
def launch(tmp_path):
    """Launches the app in this process; returns its exit status."""

    def run(*arguments):
        attack.FLAGS.unparse_flags()
        for name in attack.FLAGS:
            attack.FLAGS[name].unparse()
        argv = ["attack.py", f"--out_dir={tmp_path / 'out'}", "--examples=24", *arguments]
        with pytest.raises(SystemExit) as caught:
            attack.launch(argv)
        return caught.value.code or 0

    return run


@pytest.mark.parametrize(
    "arguments, words",
    [
        ([], "model must be a .keras file or the folder of a run; received none"),
        (["--model=/nowhere"], "model '/nowhere' is not there"),
        (["--model=MODEL", "--suite=strong"], "flag --suite=strong: value should be one of"),
        (["--model=MODEL", "--epsilon=8"], "epsilon must lie in [0, 1] (pixels are in [0, 1])"),
        (["--model=MODEL", "--norm=l2", "--epsilon=-1"], "epsilon must be at least 0 and finite"),
        (["--model=MODEL", "--norm=l1"], "flag --norm=l1: value should be one of"),
        (["--model=MODEL", "--epsilon=nan"], "epsilon must lie in [0, 1] (pixels are in [0, 1])"),
        (["--model="], "model must be a .keras file or the folder of a run; received ''"),
        (
            ["--model=MODEL", "--dataset="],
            "digits, dvs128_gesture, dvs_cifar10, imagenet2012, tiny_imagenet; received ''",
        ),
        (["--model=MODEL", "--data_dir="], "data_dir must name a folder; received ''"),
        (["--model=MODEL", "--out_dir="], "out_dir must name a folder; received ''"),
        (["--model=MODEL", "--epsilons=0,300"], "epsilons must be grey levels from 0 to 255; rec"),
        (["--model=MODEL", "--epsilons=nan"], "epsilons must be grey levels from 0 to 255; receiv"),
        (["--model=MODEL", "--epsilons=8,,16"], "epsilons must have an entry on each side of a co"),
        (["--model=MODEL", "--epsilons=8,8.0"], "epsilons must have each entry once; received '8"),
        (
            ["--model=MODEL", "--norm=l2", "--epsilons=inf"],
            "epsilons must be finite lengths of at least 0; received inf",
        ),
        (["--model=MODEL", "--steps=0"], "steps must be whole numbers from 1 on; received 0"),
        (["--model=MODEL", "--steps=7.5"], "steps must be whole numbers with commas between; rec"),
        (["--model=MODEL", "--checks=7,7"], "checks must have each entry once"),
        (["--model=MODEL", "--substitutes=,"], "substitutes must have an entry on each side of a"),
        (["--model=MODEL", "--surrogate="], "surrogate must be one of triangle"),
        (["--model=MODEL", "--surrogate=arctan", "--width=nan"], "width must be a positive finite"),
        (["--model=MODEL", "--norm=l2", "--checklist"], "checklist knows the L-infinity ball"),
        (["--model=MODEL", "--norm=l2", "--protocol=released"], "protocol=released knows the"),
        (["--model=MODEL", "--estimator=stdp"], "flag --estimator=stdp: value should be one of"),
        (["--model=MODEL", "--estimator=rga", "--suite=reliable"], "tries every derivative of"),
        (["--model=MODEL", "--estimator=rga", "--surrogate=arctan"], "surrogate or estimator must"),
        (["--model=MODEL", "--surrogate=step"], "surrogate must be one of triangle"),
        (["--model=MODEL", "--width=0.5"], "width=0.5 belongs to a surrogate"),
        (["--model=MODEL", "--dataset=mnist"], "dataset must be one of cifar10, cifar100, digits"),
        (["--model=MODEL/model.keras"], "received None; set --dataset"),
        (["--model=MODEL", "--dataset=/nowhere.npz"], "/nowhere.npz is not there; name an .npz"),
        (["--model=MODEL", "--epsilons=0,a"], "epsilons must be numbers with commas between"),
        (["--model=MODEL", "--checks=7,99"], "checks must be among [1, "),
        (["--model=MODEL", "--checklist_rows=7,99"], "checks must be among [1, "),
        (
            ["--model=MODEL", "--train_substitutes=ann"],
            "must be among seed, architecture, ann_counterpart",
        ),
        (
            ["--model=MODEL/model.keras", "--dataset=digits", "--train_substitutes=seed"],
            "is a file; name the run's folder in --model, or trained models in --substitutes",
        ),
        (["--model=MODEL", "--no_such_flag"], "Unknown command line flag 'no_such_flag'"),
        (["digits"], "no positional arguments are taken; received 'digits'"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(
    launch, capsys, tmp_path, model, arguments, words
):
    assert launch(*[part.replace("MODEL", str(model)) for part in arguments]) == 2
    message = capsys.readouterr().err.strip().splitlines()
    assert len(message) == 1 and message[0].startswith("attack: ") and words in message[0]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "kind, words",
    [
        ("two_inputs", "must take images alone; it takes 2 inputs: left, right"),
        ("integers", "must take pixels in [0, 1]; it takes uint8; save it with a float input"),
        ("batch", "takes batches of 4 images alone; save it with a free batch size"),
        ("wide", "takes images (9, 8, 1); digits has (8, 8, 1); set --dataset to the set it was"),
        (
            "channels_first",
            "takes images (1, 8, 8) with channels first; digits has (8, 8, 1); put "
            "keras.layers.Permute((3, 1, 2)) in front of it",
        ),
        ("dictionary", "must answer with one array of logits; it answers with a dict (a, b)"),
        ("list", "must answer with one array of logits; it answers with a list (2)"),
        ("maps", "it answers (16, 8, 8, 1)"),
        ("few", "answers with 5 logits; digits has 10 classes; set --dataset to"),
        ("one", "answers with 1 logits; digits has 10 classes"),
        ("softmax", "answers with probabilities, whose gradients vanish where it is sure; save it"),
        ("unregistered", "Unregistered"),
    ],
)
def test_a_foreign_model_that_does_not_fit_is_one_line(launch, capsys, tmp_path, kind, words):
    foreign(kind).save(tmp_path / "net.keras")
    assert launch(f"--model={tmp_path / 'net.keras'}", "--dataset=digits") == 2
    message = capsys.readouterr().err.strip().splitlines()
    assert len(message) == 1 and words in message[0], message
    assert f"attack: model '{tmp_path / 'net.keras'}' " in message[0]
    assert not (tmp_path / "out").exists()


def test_substitutes_must_fit_too(launch, capsys, tmp_path, model):
    foreign("few").save(tmp_path / "net.keras")
    assert launch(f"--model={model}", f"--substitutes={tmp_path / 'net.keras'}") == 2
    assert "net.keras' answers with 5 logits" in capsys.readouterr().err


def test_a_model_of_any_height_and_width_is_attacked_on_images_of_a_file(launch, capsys, tmp_path):
    foreign("free").save(tmp_path / "net.keras")
    data = sources.load("digits")
    np.savez(tmp_path / "own.npz", images=data.x_test[:9], labels=data.y_test[:9])
    model, own = f"--model={tmp_path / 'net.keras'}", f"--dataset={tmp_path / 'own.npz'}"
    options = "--suite=paper", "--verbose=0", "--pictures=1", "--examples=8"
    assert launch(model, own, *options, "--sweep=epsilon", "--epsilons=0,8") == 0
    protocol = json.loads((tmp_path / "out/evaluation.json").read_text())["protocol"]
    assert (protocol["images"], protocol["dataset"]) == (8, "own.npz")
    scaled = pixels.scaled(data.x_test[:8])
    assert protocol["data"] == metadata.fingerprint(scaled, data.y_test[:8])
    np.savez(tmp_path / "own.npz", images=data.x_test[:2], labels=[3, 10])
    capsys.readouterr()
    assert launch(model, own) == 2
    assert "answers with 10 logits; own.npz has 11 classes" in capsys.readouterr().err


def test_damaged_files_of_a_run_are_one_line(launch, capsys, tmp_path, model):
    folder = tmp_path / "run"
    for name, damage in (
        ("model.keras", lambda content: content[: len(content) // 2]),
        ("model.keras", lambda content: content[:200] + b"?" + content[201:]),
        ("result.json", lambda content: b"{}"),
        ("result.json", lambda content: b"[]"),
        ("result.json", lambda content: b""),
        ("result.json", lambda content: content.replace(b'"digits"', b"3")),
    ):
        shutil.copytree(model, folder, dirs_exist_ok=True)
        (folder / name).write_bytes(damage((folder / name).read_bytes()))
        assert launch(f"--model={folder}") == 2
        message = capsys.readouterr().err.strip().splitlines()
        assert len(message) == 1 and f"{folder / name}" in message[0], message
        assert not (tmp_path / "out").exists()


def foreign(kind):
    """A model of somebody else's."""
    layers, image = keras.layers, keras.Input((8, 8, 1))
    flat = layers.Flatten()(image)
    if kind == "two_inputs":
        left, right = keras.Input((8, 8, 1), name="left"), keras.Input((8, 8, 1), name="right")
        return keras.Model([left, right], layers.Dense(10)(layers.Flatten()(left + right)))
    if kind == "dictionary":
        return keras.Model(image, {"a": layers.Dense(10)(flat), "b": flat})
    if kind == "list":
        return keras.Model(image, [layers.Dense(10)(flat), flat])
    if kind == "free":
        images = keras.Input((None, None, 1))
        maps = layers.Conv2D(4, 3, activation="relu")(images)
        return keras.Model(images, layers.Dense(10)(layers.GlobalAveragePooling2D()(maps)))
    if kind == "maps":
        return keras.Model(image, layers.Conv2D(1, 1)(image))
    given = {
        "integers": keras.Input((8, 8, 1), dtype="uint8"),
        "batch": keras.Input(batch_shape=(4, 8, 8, 1)),
        "wide": keras.Input((9, 8, 1)),
        "channels_first": keras.Input((1, 8, 8)),
    }.get(kind, image)
    last = {
        "few": layers.Dense(5),
        "one": layers.Dense(1),
        "softmax": layers.Dense(10, activation="softmax"),
        "unregistered": Unregistered(10),
    }.get(kind, layers.Dense(10))
    return keras.Sequential([given, layers.Flatten(), last])


class Unregistered(keras.layers.Dense):
    pass


def test_help_lists_every_flag(launch, capsys):
    assert launch("--help") == 0
    text = capsys.readouterr().out
    assert all(f"--{name}: " in text for name in attack.FLAGS)


def test_another_ball_and_another_derivative(launch, tmp_path, model):
    arguments = (
        f"--model={model}",
        "--suite=paper",
        "--norm=l2",
        "--sweep=both",
        "--epsilons=0,0.5",
        "--steps=1,3",
        f"--substitutes={model}",
        "--batch_size=32",
        "--verbose=0",
        "--pictures=1",
    )
    assert launch(*arguments, "--estimator=bptr") == 0
    record = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    protocol = record["protocol"]
    assert (protocol["norm"], protocol["epsilon"]) == ("L2", 0.5)
    assert protocol["derivative"] == "estimator bptr"
    for name in ("fgsm", "pgd-7"):
        config = protocol["attacks"][name]
        assert (config["norm"], config["epsilon"]) == ("L2", 0.5)
        assert config["estimator"] == {"rule": "keras_dep>BPTR"}
    rows = json.loads((tmp_path / "out" / "sweep_epsilon.json").read_text())
    assert [row["epsilon"] for row in rows] == [0] * 4 + [0.5] * 4
    assert {row["norm"] for row in rows} == {"L2"}
    # The white box looks as asked, the substitute, here the model itself, as it was trained.
    by_name = {row["attack"]: row["correct"] for row in rows[4:]}
    assert by_name["fgsm"] == record["attacks"][0]["accuracy"] * 24
    assert scalars_at(tmp_path / "out", "sweep_epsilon/pgd") == [0, 500]
    assert scalars_at(tmp_path / "out", "sweep_steps/pgd") == [1, 3]
    assert (tmp_path / "out" / "sweep_steps.svg").stat().st_size > 50


def test_substitutes_are_trained_once_as_the_run_was(launch, capsys, tmp_path, model):
    arguments = (
        f"--model={model}",
        "--suite=paper",
        "--epsilon=0.06",
        "--batch_size=32",
        "--verbose=0",
        "--pictures=0",
        "--train_substitutes=ann_counterpart",
    )
    assert launch(*arguments, "--sweep=epsilon", "--epsilons=16") == 0
    folder = tmp_path / "out" / "substitutes" / "ann_counterpart"
    run = json.loads((folder / "result.json").read_text())
    assert run["method"] == "dep" and run["steps"] == 1
    assert run["settings"]["seed"] == 4 and not run["settings"]["spiking"]
    assert run["settings"]["batch_size"] == 16 and run["settings"]["timesteps"] == 2
    rows = json.loads((tmp_path / "out" / "sweep_epsilon.json").read_text())
    assert {row["attack"] for row in rows} >= {"fgsm, transferred"}
    trained = (folder / "model.keras").stat().st_mtime_ns
    # A folder and a flag of an earlier revision.
    former = folder.rename(folder.parent / "twin")
    assert launch(*arguments[:-1], "--train_substitutes=twin") == 0
    assert (former / "model.keras").stat().st_mtime_ns == trained and not folder.exists()
    capsys.readouterr()
    run["settings"]["epochs"] = 2
    records.write(former / "result.json", run)
    assert launch(*arguments) == 2
    assert "holds a finished run with epochs=2; received 1" in capsys.readouterr().err


def test_settings_of_substitutes():
    settings = Settings(model="vgg5", seed=2**31 - 1, keep_epochs=True)
    found = {
        kind: substitute_models.settings_of(settings, kind) for kind in substitute_models.KINDS
    }
    assert {each.seed for each in found.values()} == {0}
    assert found["architecture"].model == "vgg11"
    assert found["ann_counterpart"].model == "vgg5"
    assert [kind for kind, each in found.items() if not each.spiking] == ["ann_counterpart"]
    assert not any(each.keep_epochs or each.hessian_examples for each in found.values())
    for name in models.names():
        assert name != substitute_models.other_architecture(name) in models.names()


def scalars_at(folder, tag):
    return [step for step, _ in read_scalars(folder)[tag]]


def test_results_and_the_same_command_again(launch, capsys, tmp_path, model):
    arguments = (
        f"--model={model}",
        "--suite=paper",
        "--sweep=epsilon",
        "--epsilons=0,32",
        f"--substitutes={model}",
        "--batch_size=32",
        "--verbose=0",
        "--pictures=2",
        "--card",
    )
    assert launch(*arguments) == 0
    shown, out = capsys.readouterr().out, tmp_path / "out"
    record = json.loads((out / "evaluation.json").read_text())
    protocol = record["protocol"]
    assert record["finished"] and protocol["images"] == 24
    assert (protocol["trained_with"], protocol["checkpoint"]) == ("dep", "last epoch")
    assert f"**{100 * record['worst_case']['accuracy']:.2f} %**" in shown
    assert (out / "evaluation.md").read_text() in shown
    rows = json.loads((out / "sweep_epsilon.json").read_text())
    assert len(rows) == 8 and rows[0]["accuracy"] == record["clean"]["accuracy"]
    accuracy = f"**{100 * record['worst_case']['accuracy']:.2f} %** of 24 images withstand all 2"
    assert accuracy in (out / "card.md").read_text()
    for name in (
        "evaluation.csv",
        "card.png",
        "sweep_epsilon.csv",
        "sweep_epsilon.png",
        "sweep_epsilon.svg",
    ):
        assert (out / name).stat().st_size > 50
    scalars = read_scalars(out)
    ((_, worst),) = scalars["evaluation/worst_case"]
    np.testing.assert_allclose(worst, record["worst_case"]["accuracy"], rtol=1e-6)
    assert [step for step, _ in scalars["sweep_epsilon/fgsm"]] == [0, 32]
    written = event_files.accumulate(out)
    tags = written.Tags()["tensors"]
    pictures = {
        tag.split("/")[1]: len(event_files.tensors(written, tag)[0][1]) - 2
        for tag in tags
        if event_files.plugin(written, tag) == "images"
    }
    assert set(pictures.values()) == {6}
    assert set(pictures) == {"white_box", "black_box", "transferred"}
    more = "--checklist", "--checks=7", "--protocol=released", "--pictures=0"
    assert launch(*arguments[:2], *arguments[4:], *more) == 0
    assert "only the rows as described say something of robustness" in capsys.readouterr().out
    released = json.loads((out / "released.json").read_text())
    assert released[2]["accuracy"] == record["clean"]["accuracy"]
    assert {"released", "checklist"} <= set(event_files.accumulate(out).Tags()["tensors"])
    assert json.loads((out / "checklist.json").read_text())["checks"][0]["number"] == 7
    assert "gradients vanish or mislead" in (out / "checklist.md").read_text()
    assert json.loads((out / "evaluation.json").read_text()) == record
    assert launch(f"--model={model}", "--suite=quick") == 2
    assert "holds an evaluation with suite='paper'; received 'quick'" in capsys.readouterr().err
