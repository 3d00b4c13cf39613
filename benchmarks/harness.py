"""Shared parts of the benchmarks: options, rows of results, processes, peak memory."""

import argparse
import contextlib
import json
import os
import pathlib
import subprocess
import sys

BACKENDS = ("torch", "tensorflow", "jax")


def parser(description, quick, rounds="counted rounds"):
    """Returns a parser with the options of all benchmarks; `quick` and `rounds` are help texts."""
    options = argparse.ArgumentParser(description=description.splitlines()[0])
    chosen = os.environ.get("KERAS_BACKEND", "torch")
    options.add_argument("--backend", default=chosen, choices=BACKENDS)
    options.add_argument("--rounds", type=int, default=5, help=rounds)
    options.add_argument("--quick", action="store_true", help=quick)
    options.add_argument("--json", help="file to write the rows to")
    return options


def parsed(parser):
    """Parses the options, and sets the backend before Keras is imported."""
    options = parser.parse_args()
    os.environ["KERAS_BACKEND"] = options.backend
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # As in the apps: by default TensorFlow uses its fast kernels on some processors only.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    return options


def listed(parser, options, name, known):
    """Splits a comma-separated option into a list, and refuses unknown names."""
    chosen = [item for item in getattr(options, name).split(",") if item]
    if unknown := set(chosen) - set(known):
        parser.error(f"{name} must be among {', '.join(known)}; received {', '.join(unknown)}.")
    setattr(options, name, chosen)


# Arguments of Keras' `compile` for each value of `--run`.
RUNS = {
    "auto": {},
    "compiled": {"jit_compile": True},
    "uncompiled": {"jit_compile": False},
    "eager": {"run_eagerly": True, "jit_compile": False},
}


def row(backend, case, metric, ours, peer, peer_name, ratio):
    """Returns the row of one comparison; `ratio` is ours on that backend over the peer's."""
    return {
        "case": case,
        "backend": backend,
        "metric": metric,
        "ours": ours,
        "peer": peer,
        "peer_name": peer_name,
        "ratio": ratio,
    }


def save(rows, options):
    """Writes the rows to the file of `--json`, if given."""
    if options.json:
        with open(options.json, "w") as file:
            json.dump(rows, file, indent=2)


class Ended(SystemExit):
    """Raised when a process ends without an answer."""


# Prefix of an answer, to tell it from the output of libraries.
ANSWER = "answer: "


@contextlib.contextmanager
def process_of(script, *arguments):
    """Starts a process of the script, and yields `ask(*words)`, which it answers by `answer`.

    Frameworks in one process slow each other down, since each fragments the memory.
    """
    # On a GPU the processes share its memory.
    shared = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", "TF_FORCE_GPU_ALLOW_GROWTH": "true"}
    process = subprocess.Popen(
        [sys.executable, script, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**shared, **os.environ},
    )

    def ask(*words):
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(" ".join(map(str, words)) + "\n")
            process.stdin.flush()
        for line in process.stdout:
            if line.startswith(ANSWER):
                return json.loads(line[len(ANSWER) :])
        raise Ended(
            f"the process of {arguments[-1]} ended with status {process.wait()}; -9 means that "
            "memory ran out."
        )

    try:
        yield ask
    finally:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        process.wait()


def answer(reply):
    """Answers the questions of `process_of` by `reply(*words)`; runs in the started process."""
    for question in sys.stdin:
        print(f"{ANSWER}{json.dumps(reply(*question.split()))}", flush=True)


@contextlib.contextmanager
def peak_memory(framework):
    """Yields a list that receives the peak memory of the block above its start, in megabytes.

    It measures the GPU that torch or JAX computes on, or otherwise this process, on Linux.
    """
    found = []
    held, peak = _METERS.get(framework, lambda: None)() or (_held, _peak)
    before = held()
    yield found
    found.append((peak() - before) / 2**20)


def _of_torch():
    import torch

    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated, torch.cuda.max_memory_allocated


def _of_jax():
    import jax

    if jax.default_backend() == "gpu":
        # The peak is that of the process, and includes trials of XLA during compilation.
        statistics = jax.local_devices()[0].memory_stats
        return lambda: statistics()["bytes_in_use"], lambda: statistics()["peak_bytes_in_use"]


_METERS = {"torch": _of_torch, "jax": _of_jax}


def _held():
    # Resets the peak. The peak of `resource` would include that of the parent process.
    pathlib.Path("/proc/self/clear_refs").write_text("5")
    return _resident("VmRSS")


def _peak():
    return _resident("VmHWM")


def _resident(name):
    status = pathlib.Path("/proc/self/status").read_text()
    return int(status.split(f"{name}:")[1].split()[0]) * 1024
