"""What the apps make of flags and files that they should not take.

Generates each flag of the three apps out of its range, by the flags' own definitions, and each file
of finished runs cut, emptied, removed, with a flipped byte, or of another run; records also with a
key missing or of another type. A command may end with status 0, or with status 2 and one line that
names the flag or the file. It may not end in a traceback, and what cannot be right must not pass.

  python tests/faults/fuzz_apps.py --backend=torch
  python tests/faults/fuzz_apps.py --backend=jax --sample=40 --seed=1
"""

import argparse
import contextlib
import dataclasses
import importlib
import io
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from unittest import mock

import damage
from absl import flags
from absl.testing import flagsaver

ROOT = pathlib.Path(__file__).resolve().parents[2]
APPS = ("attack", "hessian", "hetero_train")
# Where each app begins to compute.
COMPUTING = {
    "attack": "keras_dep.evaluation.evaluate",
    "hessian": "keras_dep.studies.curvature.measure",
    "hetero_train": "keras.Model.fit",
}
TRAINING = (
    "--optimizer=dep",
    "--dataset=digits",
    "--epochs=1",
    "--train_examples=16",
    "--test_examples=16",
    "--batch_size=8",
    "--timesteps=2",
    "--attack_examples=4",
    "--watch_examples=4",
    "--poison_count=1",
    "--eval_steps=2",
    "--hessian_examples=4",
    "--keep_epochs",
    "--verbose=0",
)
OTHER = ("--model=vgg11", "--seed=1")
BRIEF = ("--poison_count=0", "--attack=none", "--hessian_examples=0")
BASE = {
    "attack": (
        "--model={run}/dep",
        "--out_dir={out}",
        "--suite=paper",
        "--examples=8",
        "--verbose=0",
        "--pictures=0",
        "--batch_size=8",
    ),
    "hessian": (
        "--run_dir={run}",
        "--runs=dep",
        "--out_dir={out}",
        "--batches=1",
        "--batch_size=4",
        "--kinds=clean",
        "--surrogates=training",
        "--count=1",
        "--max_steps=2",
        "--density_vectors=0",
        "--trace_products=0",
    ),
    "hetero_train": (*TRAINING, "--out_dir={out}"),
}
CHECKLIST = ("--checklist", "--checks=7")
# Of what a flag's parser is called; the first values are out of every range of their kind.
WRONG = {
    "BooleanParser": ["maybe", "2"],
    "EnumParser": ["", "no_such", "-1"],
    "IntegerParser": ["", "x", "1.5", "nan", "1e3"],
    "FloatParser": ["", "x", "nan", "1,5"],
    "ListParser": [",", "no_such", "a,,b", "a,a", "nan"],
    "ArgumentParser": ["", " "],
}
DOUBTFUL = {
    "IntegerParser": ["-1", "0", "1"],
    "FloatParser": ["-1", "0", "inf", "-inf", "1"],
    "ListParser": ["", "-1", "0", "inf"],
    "ArgumentParser": ["no_such", "/dev/null/x", "a\nb"],
}
# Where they are right, the work has no end.
HUGE = {"IntegerParser": [str(10**30)], "FloatParser": ["1e308"]}


@dataclasses.dataclass(frozen=True)
class Command:
    """A command line, and what has been done to the files that it reads.

    Args:
        app: one of `APPS`.
        arguments: flags, with `{run}` and `{out}` for the folders of a case.
        names: one of these must stand in the line of an error.
        refused: whether anything but a refusal is a fault.
        endless: whether it is stopped where it begins to compute.
        damage: what has been done to a file, for `damage.harm`, or `None`.
        file: the damaged file, relative to the case.
        removed: files taken away beforehand, so that others are read.
    """

    app: str
    arguments: tuple
    names: tuple
    refused: bool = False
    endless: bool = False
    damage: tuple | None = None
    file: str | None = None
    removed: tuple = ()

    def __str__(self):
        line = " ".join([self.app, *map(repr, self.arguments)])
        return f"{line}  [{self.file}: {' '.join(self.damage)}]" if self.damage else line


class Reached(BaseException):
    """An app has begun to compute."""


@dataclasses.dataclass
class Outcome:
    """How a command has ended: a status, `None` where it was stopped, or a traceback."""

    status: int | None
    error: str
    trace: str | None = None


def flag_commands():
    """Each flag of each app with values of its kind."""
    for app in APPS:
        for flag in flags_of(app):
            kind = type(flag.parser).__name__.removeprefix("Case")
            kind = "EnumParser" if "Enum" in kind else kind
            groups = ((WRONG, True, False), (DOUBTFUL, False, False), (HUGE, False, True))
            for values, refused, endless in groups:
                for value in values.get(kind, ()):
                    own = f"--{flag.name}={value}"
                    # A file or folder that is not there is named itself, a size beside another's.
                    words = " ".join(value.split())
                    path = (f"{value!r}"[1:], f"{words}/") if words else ()
                    names = (flag.name, *path)
                    names += () if refused else ("batch_size",)
                    yield Command(app, (*BASE[app], own), names, refused, endless)


def damage_commands(case):
    """Each file of a case, damaged, for each app that reads it."""
    attack, train = BASE["attack"], (*TRAINING, "--out_dir={run}", "--resume")
    unfinished = ("run/dep/result.json", "run/dep/model.keras")
    readers = [
        ("attack", attack, "run/dep/result.json", ()),
        ("attack", (*attack, "--train_substitutes=ann_counterpart"), "run/dep/result.json", ()),
        ("attack", attack, "run/dep/model.keras", ()),
        ("attack", (*attack, "--substitutes={other}/dep"), "other/dep/model.keras", ()),
        ("attack", attack, "out/evaluation.json", ()),
        ("attack", (*attack, *CHECKLIST), "out/checklist.json", ()),
        ("hessian", BASE["hessian"], "run/dep/result.json", ()),
        ("hessian", BASE["hessian"], "run/dep/model.keras", ()),
        ("hessian", BASE["hessian"], "run/dep/epochs/1.weights.h5", ()),
        ("hetero_train", train, "run/dep/result.json", ()),
        ("hetero_train", train, "run/dep/state.1", unfinished),
    ]
    for app, arguments, file, removed in readers:
        if not (case / file).exists():
            continue
        for done, refused in damage.damages(case / file):
            name = os.path.basename(file)
            # A run without its network is none; a file that is not there yet is written.
            missing = done == ("removed",)
            must = refused and not (missing and name not in ("model.keras",))
            # A state is named without its epoch.
            names = (name.replace("state.1", "dep/state"), *(("set --dataset",) if missing else ()))
            # What is missing in a record of settings is taken to be as usual.
            names += done[-1:] if done[0] == "without" else ()
            yield Command(app, arguments, names, must, False, done, file, removed)


def make_case(folder, brief=False):
    """Two finished runs, `run` and `other`, and in `out` and `other_out` attacks on them.

    A brief one has a run alone, with less measured.
    """
    pairs = [("run", "out", ())] if brief else [("run", "out", ()), ("other", "other_out", OTHER)]
    less = BRIEF if brief else ()
    for run, out, more in pairs:
        train = [*TRAINING, *more, *less, f"--out_dir={folder / run}"]
        attack = [*BASE["attack"], *CHECKLIST, f"--model={folder / run}/dep"]
        for app, arguments in [("hetero_train", train), ("attack", attack)][: 1 if brief else 2]:
            arguments = _placed(arguments, {"run": folder / run, "out": folder / out})
            found = _launched(app, arguments)
            if found.status:
                raise RuntimeError(f"{app} {arguments}: {found}")


def run(command, case, folder, stop=False):
    """The outcome of a command on a copy of a case in an empty folder.

    Args:
        command: the `Command`.
        case: what `make_case` has made.
        folder: the empty folder.
        stop: whether it ends where it begins to compute, as an endless one always does.
    """
    arguments = prepared(command, case, folder)
    # A relative path among the values leads here.
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.chdir(folder))
        if stop or command.endless:
            stack.enter_context(mock.patch(COMPUTING[command.app], side_effect=Reached))
        return _launched(command.app, arguments)


def prepared(command, case, folder):
    """The command's arguments, behind the damage that its files have taken."""
    names = ("run", "out", "other")
    for name in names:
        # A flag's case has no results yet.
        is_read = name != "out" or (command.file or "").startswith("out/")
        if is_read and (case / name).exists():
            shutil.copytree(case / name, folder / name)
    for file in command.removed:
        (folder / file).unlink()
    if command.damage:
        first, rest = command.file.split("/", 1)
        counterpart = {"run": "other", "out": "other_out", "other": "run"}[first]
        damage.harm(folder / command.file, command.damage, case / counterpart / rest)
    return _placed(command.arguments, {name: folder / name for name in names})


def faults(command, outcome):
    """What is wrong with an outcome, in words."""
    if outcome.trace:
        return [f"a traceback: {outcome.trace.strip().splitlines()[-1]}"]
    found, lines = [], [line for line in outcome.error.splitlines() if line.strip()]
    if "Traceback" in outcome.error or "Exception ignored" in outcome.error:
        found.append("a traceback is printed")
    if outcome.status not in (None, 0, 2):
        found.append(f"status {outcome.status}")
    if command.refused and outcome.status != 2:
        found.append("it was taken")
    if outcome.status == 2:
        if len(lines) != 1 or not lines[0].startswith(f"{command.app}: "):
            found.append(f"{len(lines)} lines of errors: {outcome.error.strip()[:400]}")
        elif not any(name in lines[0] for name in command.names):
            found.append(f"neither of {command.names} is named: {lines[0]}")
    return found


def in_a_process(command, case, folder, backend):
    """The outcome of a command in a process of its own."""
    done = subprocess.run(
        [sys.executable, f"{ROOT}/apps/{command.app}.py", *prepared(command, case, folder)],
        cwd=folder,
        env={**os.environ, "KERAS_BACKEND": backend},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    return Outcome(done.returncode, done.stderr)


def _launched(app, arguments):
    """The outcome of an app in this process, with a network that takes no time."""
    module = importlib.import_module(f"apps.{app}")
    said = io.StringIO()
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch("keras_dep.experiments.build.build_network", _small_network))
        stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
        stack.enter_context(contextlib.redirect_stderr(said))
        if app == "hetero_train":
            _define_settings(module)
            stack.enter_context(mock.patch.object(module, "_define_settings"))
            stack.enter_context(flagsaver.flagsaver())
        else:
            module.FLAGS.unparse_flags()
            for name in module.FLAGS:
                module.FLAGS[name].unparse()
        try:
            module.launch([f"{app}.py", *arguments])
        except SystemExit as end:
            return Outcome(end.code or 0, said.getvalue())
        except Reached:
            return Outcome(None, said.getvalue())
        except Exception:
            return Outcome(1, said.getvalue(), traceback.format_exc())
    raise RuntimeError(f"{app} has returned")


def _small_network(settings, data, method=None):
    import keras

    from keras_dep import LIF
    from keras_dep import DirectEncoding
    from keras_dep import UnfoldTime

    steps = settings.timesteps
    return keras.Sequential(
        [
            keras.Input(data.image_shape),
            keras.layers.Normalization(mean=data.mean, variance=[s * s for s in data.std]),
            keras.layers.Flatten(),
            keras.layers.Dense(6 if settings.model == "vgg5" else 7),
            DirectEncoding(steps),
            LIF(steps) if settings.spiking else keras.layers.ReLU(),
            keras.layers.Dense(data.num_classes),
            UnfoldTime(steps),
        ]
    )


def flags_of(app):
    module = importlib.import_module(f"apps.{app}")
    if app != "hetero_train":
        return [module.FLAGS[name] for name in module.FLAGS]
    from keras_dep.experiments.settings import GROUPS

    _define_settings(module)
    groups = flags.FLAGS.flags_by_module_dict()
    return [flag for group in (module.RUN, *GROUPS) for flag in groups[group]]


def _define_settings(module):
    if "timesteps" not in flags.FLAGS:
        module._define_settings()


def _placed(arguments, folders):
    for name, folder in folders.items():
        arguments = [part.replace(f"{{{name}}}", str(folder)) for part in arguments]
    return arguments


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backend", default="torch", choices=("torch", "tensorflow", "jax"))
    parser.add_argument("--sample", type=int, help="commands to draw; default: all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="text that a command must have")
    parser.add_argument("--processes", type=int, default=6, help="commands in processes of theirs")
    options = parser.parse_args()
    os.environ["KERAS_BACKEND"] = options.backend
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.path.insert(0, str(ROOT))
    with tempfile.TemporaryDirectory() as work:
        sys.exit(_report(options, pathlib.Path(work)))


def _report(options, work):
    case = work / "case"
    make_case(case)
    commands = [*flag_commands(), *damage_commands(case)]
    commands = [command for command in commands if options.only in str(command)]
    draw = random.Random(options.seed)
    if options.sample:
        commands = draw.sample(commands, min(options.sample, len(commands)))
    started, wrong, statuses = time.monotonic(), 0, {}
    alone = draw.sample(commands, min(options.processes, len(commands)))
    jobs = [(command, False) for command in commands] + [(command, True) for command in alone]
    for index, (command, own_process) in enumerate(jobs):
        folder = work / "now"
        folder.mkdir()
        if not own_process:
            outcome = run(command, case, folder)
        elif command.endless:
            outcome = Outcome(0, "")
        else:
            outcome = in_a_process(command, case, folder, options.backend)
        shutil.rmtree(folder)
        statuses[outcome.status] = statuses.get(outcome.status, 0) + 1
        found = faults(command, outcome)
        wrong += bool(found)
        for fault in found:
            print(f"{index} {command}\n    {fault}\n{outcome.trace or ''}", flush=True)
    print(
        f"{options.backend}: {len(jobs)} commands, {len(alone)} of them in processes of their own, "
        f"in {time.monotonic() - started:.0f} s; status and count: {statuses}; {wrong} with faults"
    )
    return min(wrong, 1)


if __name__ == "__main__":
    main()
