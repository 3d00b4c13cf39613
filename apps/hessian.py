"""Curvature of the networks that apps/hetero_train.py has trained: Table 2 of the paper.

Reads the finished runs in --run_dir (sgd and dep), attacks the same test images under each, and
reports the Hessian's spectral radius, the paper's ratio as printed and as meant, both ends of the
spectrum with error bounds, and the alignment of what DEP removes with the sharp directions; for
runs trained with --keep_epochs also epoch by epoch. Writes hessian.json, hessian.md, figures of the
epochs, the alignment, the densities and the training, and event files.

  python apps/hessian.py --run_dir=runs/hetero --batches=4 --batch_size=32
  python apps/hessian.py --run_dir=runs/paper --data_dir=~/tensorflow_datasets --method=power
"""

import dataclasses
import os
import sys

from absl import flags

FLAGS = flags.FlagValues()


def _define(kind, name, default, text, **limits):
    define = getattr(flags, f"DEFINE_{kind}")
    define(name=name, default=default, help=text, flag_values=FLAGS, **limits)


_define(
    "enum",
    "backend",
    None,
    "Framework; default: KERAS_BACKEND, else Keras' own choice.",
    enum_values=("torch", "tensorflow", "jax"),
)
_define("string", "run_dir", "runs/hetero", "Folder of the finished runs.")
_define("list", "runs", "sgd,dep", "Names of the runs in it, the baseline first.")
_define("string", "out_dir", None, "Folder of the results; default: curvature in --run_dir.")
_define("string", "data_dir", None, "TFDS folder; default: the user's.")
_define("integer", "batches", 20, "Batches of test images, from the first on.")
_define("integer", "batch_size", 128, "Images per batch.")
_define(
    "integer",
    "together",
    None,
    "Images of one pass; default: an eighth of a batch, but at least 16.",
    lower_bound=1,
)
_define("list", "kinds", "clean,fgsm,pgd", "Images to measure on.")
_define(
    "list",
    "surrogates",
    "training,arctan",
    "Surrogates to take derivatives with; training: each run's own.",
)
_define("string", "method", "lanczos", "lanczos, or power: PyHessian's iteration and its limits.")
_define("integer", "count", 5, "Eigenvalues.")
_define("float", "tolerance", 1e-2, "Residual for lanczos, relative to the spectral radius.")
_define("integer", "max_steps", 80, "Limit of products of one spectrum, for lanczos.")
_define(
    "integer",
    "density_vectors",
    1,
    "Random vectors of the spectral density; 0: none.",
    lower_bound=0,
)
_define(
    "integer",
    "trace_products",
    15,
    "Products for the trace, 3 or more; 0: none.",
    lower_bound=0,
)
_define(
    "integer",
    "epoch_batches",
    1,
    "Clean batches at every epoch that --keep_epochs kept; 0: none.",
)


def launch(argv: list[str]) -> None:
    """Runs the app on a command line, and ends in `SystemExit` with the exit status."""
    from apps import command

    command.launch(argv, "hessian", __doc__, FLAGS, main, lambda: "only event files were left.")


def main() -> None:
    """Measures the runs of the flags; raises `ValueError` or `OSError` for one line."""
    from apps import command
    from keras_dep._internal import atomic_io
    from keras_dep._internal import records
    from keras_dep.studies import curvature
    from keras_dep.studies.curvature import figures

    protocol, names = _protocol(), _names()
    run_dir, out_dir, data_dir = (
        command.folder(name, FLAGS[name].value) for name in ("run_dir", "out_dir", "data_dir")
    )
    out_dir = out_dir or os.path.join(run_dir, "curvature")
    runs = {name: curvature.Run(os.path.join(run_dir, name)) for name in names}
    data = {name: curvature.load_images(run, protocol, data_dir) for name, run in runs.items()}
    with command.claimed(out_dir):
        measured = _measured(runs, data, protocol, out_dir)
        table = curvature.markdown(measured)
        record = {"protocol": dataclasses.asdict(protocol), "runs": measured}
        records.write(os.path.join(out_dir, "hessian.json"), record)
        with atomic_io.whole_file(os.path.join(out_dir, "hessian.md")) as unfinished:
            with open(unfinished, "w") as file:
                file.write(table + "\n")
        results = {name: run.result for name, run in runs.items()}
        figures.draw_all(measured, results, out_dir)
    print(f"\n{table}\n\n{command.board(out_dir)}")


def _measured(runs, data, protocol, out_dir):
    from keras_dep.studies import curvature
    from keras_dep.summaries import EventWriter

    measured = {}
    for name, run in runs.items():
        print(f"\n{name.upper()}", flush=True)
        with EventWriter(os.path.join(out_dir, name)) as writer:
            measured[name] = curvature.measure(
                run, *data[name], protocol, writer, lambda line: print(line, flush=True)
            )
    return measured


def _names():
    from apps import command

    names = command.entries(FLAGS, "runs")
    if not names:
        raise ValueError(
            "runs must be names of runs in --run_dir, the baseline first; received ''."
        )
    return names


def _protocol():
    from apps import command
    from keras_dep.studies.curvature import Protocol

    values = {field.name: FLAGS[field.name].value for field in dataclasses.fields(Protocol)}
    values |= {name: tuple(command.entries(FLAGS, name)) for name in ("kinds", "surrogates")}
    return Protocol(**values)


if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    from apps import command

    command.finish(launch, sys.argv)
