"""A sample of the commands of `fuzz_apps.py`: each is refused in one line."""

import random

import fuzz_apps
import keras
import pytest

# Flags and files are read alike on every backend; on the others the runs take long to compile.
BRIEF = keras.backend.backend() != "torch"
FLAGS, FILES = (6, 6) if BRIEF else (15, 12)


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    folder = tmp_path_factory.mktemp("case")
    fuzz_apps.make_case(folder, BRIEF)
    return folder


def sample(commands, number, seed=0):
    """A number of commands that must be refused, from every app."""
    wrong = [command for command in commands if command.refused]
    random.Random(seed).shuffle(wrong)
    by_app = [[command for command in wrong if command.app == app] for app in fuzz_apps.APPS]
    return [command for group in zip(*by_app) for command in group][:number]


def assert_refused(commands, case, folder, stop=False):
    for index, command in enumerate(commands):
        (folder / str(index)).mkdir()
        outcome = fuzz_apps.run(command, case, folder / str(index), stop)
        assert not fuzz_apps.faults(command, outcome), f"{command}: {outcome}"
    assert {command.app for command in commands} == set(fuzz_apps.APPS)


def test_flags_out_of_range(case, tmp_path):
    assert_refused(sample(fuzz_apps.flag_commands(), FLAGS), case, tmp_path, stop=True)


def test_damaged_files(case, tmp_path):
    assert_refused(sample(fuzz_apps.damage_commands(case), FILES), case, tmp_path)


def test_every_flag_has_values_out_of_its_range():
    commands = list(fuzz_apps.flag_commands())
    for app in fuzz_apps.APPS:
        tried = {command.arguments[-1].split("=")[0] for command in commands if command.app == app}
        assert tried == {f"--{flag.name}" for flag in fuzz_apps.flags_of(app)}


def test_what_counts_as_a_fault():
    command = fuzz_apps.Command("attack", (), ("epsilon",), refused=True)
    good = fuzz_apps.Outcome(2, "attack: epsilon must be small.\n")
    assert fuzz_apps.faults(command, good) == []
    for outcome in (
        fuzz_apps.Outcome(0, ""),
        fuzz_apps.Outcome(None, ""),
        fuzz_apps.Outcome(1, good.error),
        fuzz_apps.Outcome(2, ""),
        fuzz_apps.Outcome(2, "attack: steps must be small.\n"),
        fuzz_apps.Outcome(2, f"W0000 a word\n{good.error}"),
        fuzz_apps.Outcome(2, f"Traceback (most recent call last)\n{good.error}"),
        fuzz_apps.Outcome(1, good.error, "ValueError: epsilon"),
    ):
        assert fuzz_apps.faults(command, outcome), outcome
