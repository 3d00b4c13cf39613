"""The hetero_train app as a person meets it: help, mistakes, the table, death and resumption."""

import json
import os
import pathlib
import subprocess
import sys
import time

import keras
import numpy as np
import pytest
from absl import flags
from absl.testing import flagsaver

from apps import hetero_train
from apps import presets
from keras_dep.experiments.settings import Settings
from tests.support.event_files import read_scalars

ROOT = pathlib.Path(__file__).parents[2]
SMALL = (
    "--train_examples=48",
    "--test_examples=16",
    "--batch_size=16",
    "--timesteps=2",
    "--epochs=2",
    "--attack_examples=8",
    "--watch_examples=16",
    "--hessian_examples=4",
    # Leaves the Hessian that compiles, the one that tells its cost, and the last.
    "--hessian_every=1",
    "--hessian_share=0",
    "--verbose=0",
    # What TensorFlow compiles without XLA is ready sooner; JAX knows no other compiler.
    f"--jit={'off' if keras.backend.backend() == 'tensorflow' else 'auto'}",
)
RUNS = ("sgd", "dep")
LIMIT = 240


@pytest.fixture
def launch(monkeypatch, tmp_path):
    """Launches the app in this process; returns its exit status."""
    monkeypatch.setattr(hetero_train, "_define_settings", define_once)

    def run(*arguments):
        argv = ["hetero_train.py", f"--out_dir={tmp_path / 'out'}", *arguments]
        with flagsaver.flagsaver(), pytest.raises(SystemExit) as caught:
            hetero_train.launch(argv)
        return caught.value.code or 0

    return run


def define_once(define=hetero_train._define_settings):
    if "timesteps" not in flags.FLAGS:
        define()


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--model=vgg99"], "model must be one of vgg5, vgg11"),
        (["--surrogate=step"], "surrogate must be one of triangle"),
        (
            ["--dataset=mnist"],
            "digits, dvs128_gesture, dvs_cifar10, imagenet2012, tiny_imagenet; received 'mnist'",
        ),
        (["--augment=none,paper"], "augment must be one of none, paper, resized_crop, standard"),
        (["--out_dir="], "out_dir must name a folder; received ''"),
        (["--timesteps=0"], r"timesteps must be in [1, 1000]; received 0"),
        (["--timesteps=four"], "flag --timesteps=four: invalid literal"),
        (["--tau=0.5"], "tau must be at least 1; received 0.5"),
        (["--tau=nan"], "tau must be at least 1; received nan"),
        (["--epsilon=2"], "epsilon must be in [0, 1]; received 2.0"),
        (["--eval_epsilon=-0.1"], "eval_epsilon must be in [0, 1]; received -0.1"),
        (["--poison_epoch=3"], "poison_epoch must be below epochs=3"),
        (["--attack=none"], "attack='none' leaves nothing to perturb"),
        (["--preset=paper"], "preset must be one of paper_cifar10"),
        (["--backend=mxnet"], "flag --backend=mxnet: value should be one of"),
        (
            ["--distribute=horovod"],
            "value should be one of <ddp|mirrored|multiworker|data_parallel>",
        ),
        (["--devices=2"], "devices=2 needs an engine; received none; set --distribute"),
        (["--no_such_flag"], "Unknown command line flag 'no_such_flag'"),
        (["digits"], "no positional arguments are taken; received 'digits'"),
        (["--train_examples=2000"], "train_examples must be a whole number from 1 to 1500"),
        (["--train_examples=10"], "batch_size must be a whole number from 1 to 10; received"),
        (["--data_dir="], "data_dir must name a folder; received ''"),
        (["--dataset=cifar10", "--data_dir=/nowhere"], "cifar10 expected in /nowhere/cifar10"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_line_and_leaves_nothing(launch, capsys, tmp_path, arguments, words):
    assert launch(*arguments) == 2
    message = capsys.readouterr().err.strip().splitlines()
    assert len(message) == 1 and message[0].startswith("hetero_train: ") and words in message[0]
    assert not (tmp_path / "out").exists() and not os.path.exists("sgd")


@pytest.mark.parametrize("choice", ["--dataset=cifar100", "--preset=paper_cifar100"])
@pytest.mark.parametrize("left", [None, "3.0.2"])
def test_a_missing_or_half_prepared_set_is_said_before_keras_is_imported(tmp_path, choice, left):
    if left:
        (tmp_path / "cifar100" / left).mkdir(parents=True)
    code = "import sys; sys.modules['keras'] = None; from apps import hetero_train as app; "
    done = subprocess.run(
        [sys.executable, "-c", f"{code} app.launch(sys.argv)", choice, f"--data_dir={tmp_path}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )
    found = f"{left} incomplete or damaged" if left else "no such folder"
    wanted = f"hetero_train: cifar100 expected in {tmp_path}/cifar100/<version>, found {found}"
    assert done.returncode == 2
    assert done.stderr.startswith(wanted) and len(done.stderr.splitlines()) == 1


# Sends the signal named last while the module named first is imported.
INTERRUPTED = """
import os, signal, sys
class Interrupting:
    def find_spec(self, name, *_):
        if name == sys.argv[1]:
            os.kill(os.getpid(), getattr(signal, sys.argv[2]))
sys.meta_path.insert(0, Interrupting())
from apps import command, hetero_train
command.finish(hetero_train.launch, ["hetero_train.py", "--out_dir=" + sys.argv[3]])
"""


@pytest.mark.parametrize(
    "module, name",
    [
        ("keras", "SIGINT"),
        (f"keras.src.backend.{keras.backend.backend()}.numpy", "SIGTERM"),
        (f"keras_dep._backend.{keras.backend.backend()}", "SIGINT"),
    ],
)
def test_an_interrupt_of_an_import_is_one_line(tmp_path, module, name):
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, module, name, str(tmp_path / "out")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )
    said = "hetero_train: stopped; nothing was begun.\n"
    assert (done.returncode, done.stdout, done.stderr) == (130, "", said)


def test_a_folder_that_cannot_be_written_is_one_line(launch, capsys, tmp_path):
    (tmp_path / "file").write_text("")
    assert launch(*SMALL, f"--out_dir={tmp_path / 'file'}") == 2
    assert "cannot be written (Not a directory); choose another" in capsys.readouterr().err


def test_help_lists_every_setting_by_group(launch, capsys):
    assert launch("--help") == 0
    text = capsys.readouterr().out
    for name in (*Settings.__dataclass_fields__, "backend", "methods", "out_dir", "resume"):
        assert f"--{name}: " in text
    headings = [line for line in text.splitlines() if line.isupper()]
    assert headings == ["RUN", "DATA", "NETWORK", "TRAINING", "POISON", "MEASUREMENT", "METHODS"]


def test_a_table_says_what_has_no_hessian():
    record = {"spectral_radius": 2.5, "leading_share": 0.5, "iteration": 7}
    names = ("gradient_energy_in_top", "curvature_along_gradient", "curvature_along_step", "cosine")
    record["alignment"] = dict.fromkeys(names, 0.25)
    finite = {
        "accuracy": dict.fromkeys(("clean", "fgsm", "pgd"), 0.5),
        "settings": {"surrogate": "triangle"},
        **{"attacked_examples": 8, "worst_after_poison": None, "collapse": []},
        **{"seconds_per_step": None, "hessian": record, "hessian_not_finite": []},
    }
    diverged = {**finite, "hessian": None, "hessian_not_finite": [9]}
    table = hetero_train._table({"sgd": finite, "dep": diverged})
    rows = {line[:30].strip(): line[30:].split() for line in table.splitlines()}
    assert rows["Hessian after step"] == ["7", "not", "finite"]
    assert rows["Hessian spectral radius"] == ["2.5", "not", "finite"]
    table = hetero_train._table({"sgd": {**diverged, "hessian_not_finite": []}})
    assert "Hessian spectral radius                    -" in table


def test_flags_win_over_the_preset_and_the_preset_over_defaults():
    define_once()
    with flagsaver.flagsaver():
        flags.FLAGS(["", "--preset=paper_cifar100", "--epochs=5", "--noresume"])
        settings = hetero_train._settings()
        flags.FLAGS.unparse_flags()
    assert (settings.epochs, settings.model, settings.weight_decay) == (5, "vgg11", 5e-4)
    for values in presets.PRESETS.values():
        Settings(**values)


def test_both_runs_end_in_one_table_and_a_stopped_one_at_the_same_weights(launch, capsys, tmp_path):
    with pytest.warns(UserWarning, match="than 0 of the .* raise max_share .--hessian_share."):
        assert launch(*SMALL) == 0
    table = capsys.readouterr().out
    results = [read_result(tmp_path / "out" / run) for run in RUNS]
    rows = {line[:30].strip(): line[30:].split() for line in table.splitlines()}
    for label, name in (("clean", "clean"), ("FGSM", "fgsm"), ("PGD", "pgd")):
        shown = [f"{100 * result['accuracy'][name]:.2f}" for result in results]
        assert rows[f"{label} accuracy"][::2] == shown
    radii = [f"{result['hessian']['spectral_radius']:.4g}" for result in results]
    assert rows["Hessian spectral radius"] == radii
    assert rows["Hessian after step"] == [str(result["steps"]) for result in results]
    assert rows["overhead per step"][::2] == ["+0.0", rows["overhead per step"][2]]
    assert f"tensorboard --logdir {tmp_path / 'out'}" in table
    for run, result in zip(RUNS, results):
        assert len(result["poisoned_batches"]) == len(result["collapse"]) == 2
        tags = read_scalars(tmp_path / "out" / run)
        wanted = {"train/loss", "validation/accuracy", "poison/accuracy_after", "result/pgd"}
        wanted |= {"collapse/accuracy", *(f"hessian/lambda_{i}" for i in range(1, 5))}
        assert wanted <= set(tags)
        assert any(tag.startswith("dep/removed_energy/") for tag in tags) == (run == "dep")
    # The folder now holds a finished run: refused, or shown again.
    assert launch(*SMALL) == 2
    assert "already holds a run; pass --resume" in capsys.readouterr().err
    assert launch(*SMALL, "--resume") == 0
    assert capsys.readouterr().out.count("PGD accuracy") == 1
    assert launch(*SMALL, "--resume", "--tau=2") == 2
    assert "holds a finished run with tau=1.1; received 2.0" in capsys.readouterr().err
    # Another process, stopped behind its first epoch, whose run goes on in this one.
    fewer = (*SMALL, "--methods=dep", "--hessian_examples=0")
    stopped = start(tmp_path / "stopped", *fewer)
    wait_for(tmp_path / "stopped/dep/state.1", stopped)
    stopped.terminate()
    assert stopped.wait(LIMIT) == 130
    go_on = f"add --resume to continue from the last finished epoch in {tmp_path / 'stopped'}."
    assert stopped.stderr.read() == f"hetero_train: stopped; {go_on}\n"
    assert launch(*fewer, f"--out_dir={tmp_path / 'stopped'}", "--resume") == 0
    folders = [tmp_path / "out/dep", tmp_path / "stopped/dep"]
    models = [keras.saving.load_model(folder / "model.keras") for folder in folders]
    for one, other in zip(*(model.get_weights() for model in models), strict=True):
        np.testing.assert_array_equal(one, other)
    unbroken, broken = map(read_result, folders)
    for name in ("accuracy", "poisoned_batches", "collapse", "steps", "history"):
        assert unbroken[name] == broken[name]


def read_result(folder):
    return json.loads((folder / "result.json").read_text())


def start(folder, *arguments):
    return subprocess.Popen(
        [sys.executable, "apps/hetero_train.py", f"--out_dir={folder}", *arguments],
        cwd=ROOT,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(path, process):
    deadline = time.monotonic() + LIMIT
    while not path.exists():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.01)
