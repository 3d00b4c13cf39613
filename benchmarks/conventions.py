"""What every benchmark here shares: options, the form of a row, and the file they go to."""

import argparse
import contextlib
import json
import os
import pathlib


def parser(description, quick, rounds="counted rounds"):
    """Options of all benchmarks; `quick` and `rounds` say what those two mean."""
    options = argparse.ArgumentParser(description=description.splitlines()[0])
    chosen = os.environ.get("KERAS_BACKEND", "torch")
    options.add_argument("--backend", default=chosen, choices=("torch", "tensorflow", "jax"))
    options.add_argument("--rounds", type=int, default=5, help=rounds)
    options.add_argument("--quick", action="store_true", help=quick)
    options.add_argument("--json", help="file for the rows")
    return options


def parsed(parser):
    """The options, with the backend chosen ahead of Keras' import."""
    options = parser.parse_args()
    os.environ["KERAS_BACKEND"] = options.backend
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    return options


def listed(parser, options, name, known):
    """Turns an option of names with commas between into a list, and refuses unknown ones."""
    chosen = [item for item in getattr(options, name).split(",") if item]
    if unknown := set(chosen) - set(known):
        parser.error(f"{name} must be among {', '.join(known)}; received {', '.join(unknown)}.")
    setattr(options, name, chosen)


# What Keras' `compile` takes for each way of running that a benchmark's `--run` names.
RUNS = {
    "auto": {},
    "compiled": {"jit_compile": True},
    "uncompiled": {"jit_compile": False},
    "eager": {"run_eagerly": True, "jit_compile": False},
}


def row(options, case, metric, ours, peer, peer_name, ratio):
    """One comparison; `ratio` is ours over the peer's."""
    return {
        "case": case,
        "backend": options.backend,
        "metric": metric,
        "ours": ours,
        "peer": peer,
        "peer_name": peer_name,
        "ratio": ratio,
    }


def save(rows, options):
    """Writes the rows where `--json` says."""
    if options.json:
        with open(options.json, "w") as file:
            json.dump(rows, file, indent=2)


@contextlib.contextmanager
def peak_memory():
    """Yields a list that receives, in megabytes, the block's peak above what it started with.

    Of this process, on Linux; what `resource` tells starts at the peak of the parent.
    """
    found = []
    # Forgets the peak of what came before.
    pathlib.Path("/proc/self/clear_refs").write_text("5")
    before = _resident("VmRSS")
    yield found
    found.append(_resident("VmHWM") - before)


def _resident(name):
    status = pathlib.Path("/proc/self/status").read_text()
    return int(status.split(f"{name}:")[1].split()[0]) / 1024
