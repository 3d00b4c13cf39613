"""Curvature of the networks that apps/hetero_train.py has trained: Table 2 of the paper, remade.

Reads the finished runs in --run_dir (sgd and dep), attacks the same test images under each, and
reports the Hessian's spectral radius, the paper's ratio, the proportion it meant, both ends of the
spectrum with error bounds, and whether the component that DEP removes is the sharp direction.
Leaves hessian.json, hessian.md, density and training curves (with matplotlib), and event files.

  python apps/hessian.py --run_dir=runs/hetero --batches=4 --batch_size=32
  python apps/hessian.py --run_dir=runs/paper --data_dir=~/tensorflow_datasets --method=power
"""

import dataclasses
import importlib.util
import json
import os
import sys

from absl import app
from absl import flags
from absl import logging

FLAGS = flags.FLAGS

flags.DEFINE_enum(
    "backend",
    None,
    ("torch", "tensorflow", "jax"),
    "Framework; default: KERAS_BACKEND, else Keras' own choice.",
)
flags.DEFINE_string("run_dir", "runs/hetero", "Folder of the finished runs.")
flags.DEFINE_list("runs", "sgd,dep", "Names of the runs in it, the baseline first.")
flags.DEFINE_string("out_dir", None, "Folder of the results; default: curvature in --run_dir.")
flags.DEFINE_string("data_dir", None, "TFDS folder; default: the user's.")
flags.DEFINE_integer("batches", 20, "Batches of test images, from the first on.")
flags.DEFINE_integer("batch_size", 128, "Images per batch.")
flags.DEFINE_integer("together", None, "Images looked at together, where memory is short.")
flags.DEFINE_list("kinds", "clean,fgsm,pgd", "Images to measure on.")
flags.DEFINE_list(
    "surrogates",
    "training,arctan",
    "Surrogates to take derivatives with: training stands for each run's own.",
)
flags.DEFINE_string(
    "method", "lanczos", "lanczos, or power for PyHessian's iteration with its limits."
)
flags.DEFINE_integer("count", 5, "Eigenvalues.")
flags.DEFINE_float("tolerance", 1e-2, "Residual for lanczos, relative to the spectral radius.")
flags.DEFINE_integer("max_steps", 80, "Limit of products of one spectrum, for lanczos.")
flags.DEFINE_integer("density_vectors", 1, "Random vectors of the spectral density; 0: none.")
flags.DEFINE_integer("trace_products", 15, "Products for the trace; 0: none.")


def launch(argv):
    """From a command line to the exit status, as `SystemExit`."""
    _choose_backend([argument for argument in argv if argument not in ("--help", "-help", "-h")])
    app.run(main, argv=argv, flags_parser=_parse)


def main(argv):
    from keras_dep import curvature_study
    from keras_dep.summaries import EventWriter

    if len(argv) > 1:
        _fail(f"no positional arguments are taken; received {' '.join(argv[1:])!r}.")
    logging.set_verbosity(logging.WARNING)
    out_dir = os.path.expanduser(FLAGS.out_dir or os.path.join(FLAGS.run_dir, "curvature"))
    data_dir = os.path.expanduser(FLAGS.data_dir) if FLAGS.data_dir else None
    measured, results = {}, {}
    try:
        fields = dataclasses.fields(curvature_study.Protocol)
        values = {field.name: FLAGS[field.name].value for field in fields}
        lists = {name: tuple(values[name]) for name in ("kinds", "surrogates")}
        protocol = curvature_study.Protocol(**{**values, **lists})
        for name in FLAGS.runs:
            run = curvature_study.Run(os.path.join(os.path.expanduser(FLAGS.run_dir), name))
            images, labels = curvature_study.load_images(run, protocol, data_dir)
            print(f"\n{name.upper()}", flush=True)
            with EventWriter(os.path.join(out_dir, name)) as writer:
                measured[name] = curvature_study.measure(
                    run, images, labels, protocol, writer, lambda line: print(line, flush=True)
                )
            results[name] = run.result
        table = curvature_study.markdown(measured)
        _leave(out_dir, protocol, measured, results, table)
    except (ValueError, OSError) as error:
        _fail(error)
    except KeyboardInterrupt:
        _fail("stopped; nothing was left but events.", 130)
    print(f"\n{table}\n\ntensorboard --logdir {out_dir}")


def _leave(out_dir, protocol, measured, results, table):
    """The files: numbers, table and, where matplotlib is, figures."""
    from keras_dep import curvature_study
    from keras_dep.spectrum import Density
    from keras_dep.spectrum import density

    with open(os.path.join(out_dir, "hessian.json"), "w") as file:
        json.dump({"protocol": dataclasses.asdict(protocol), "runs": measured}, file, indent=2)
    with open(os.path.join(out_dir, "hessian.md"), "w") as file:
        file.write(table + "\n")
    if not importlib.util.find_spec("matplotlib"):
        print("no figures: pip install matplotlib draws them.")
        return
    densities = {n: Density(**m["density"]) for n, m in measured.items() if "density" in m}
    for ending in ("png", "svg"):
        curvature_study.plot_training(results, os.path.join(out_dir, f"training.{ending}"))
        if densities:
            density.plot(densities, os.path.join(out_dir, f"density.{ending}"))


def _choose_backend(argv):
    """Keras reads its backend when it is imported, so that flag is parsed ahead of the others."""
    try:
        FLAGS(argv, known_only=True)
    except flags.Error as error:
        _fail(" ".join(str(error).split()))
    if FLAGS.backend:
        os.environ["KERAS_BACKEND"] = FLAGS.backend
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    FLAGS.unparse_flags()


def _parse(argv):
    """As absl's own parser, with a message of one line."""
    try:
        return app.parse_flags_with_usage(argv) if "--help" in argv else FLAGS(argv)
    except flags.Error as error:
        _fail(" ".join(str(error).split()))


def _fail(message, status=2):
    print(f"hessian: {message}", file=sys.stderr)
    sys.exit(status)


if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    launch(sys.argv)
