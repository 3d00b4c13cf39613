"""Hetero-training of a spiking network on images, by one method or several.

Trains on one distribution (clean or adversarial images), inserts a few batches of the other, and
reports whether the network collapses: clean, FGSM and PGD accuracy, the worst accuracy after a
poisoned batch, and the Hessian's spectral radius. Each of --methods trains the same weights on the
same batches; + combines methods, and options are given by keyword.

  python apps/hetero_train.py
  python apps/hetero_train.py --methods="sgd,dep,dep+feel,sam(rho=0.1)"
  python apps/hetero_train.py --dataset=cifar10 --data_dir=~/tensorflow_datasets --model=vgg11
  python apps/hetero_train.py --preset=paper_cifar10 --out_dir=runs/paper --resume
  torchrun --standalone --nproc-per-node=2 apps/hetero_train.py --distribute=ddp
  python apps/hetero_train.py --backend=tensorflow --distribute=mirrored --devices=2
"""

import dataclasses
import os
import sys
import textwrap

from absl import app
from absl import flags
from absl import logging

FLAGS = flags.FLAGS
RUN = "run"

flags.DEFINE_enum(
    "backend",
    None,
    ("torch", "tensorflow", "jax"),
    "Framework; default: KERAS_BACKEND, else Keras' own choice.",
    module_name=RUN,
)
flags.DEFINE_string(
    "methods",
    None,
    "Methods of training, separated by commas, from the same weights on the same batches; --help "
    "lists them. Default: those of the preset, else sgd,dep.",
    module_name=RUN,
)
flags.DEFINE_enum(
    "optimizer",
    None,
    ("sgd", "dep", "both"),
    "Former name of --methods: sgd, dep, or both.",
    module_name=RUN,
)
flags.DEFINE_string(
    "out_dir", "runs/hetero", "Folder of results, checkpoints and events.", module_name=RUN
)
flags.DEFINE_enum(
    "distribute",
    None,
    ("ddp", "mirrored", "multiworker", "data_parallel"),
    "Share the run: ddp: over the processes of torchrun, on torch; multiworker: over the processes "
    "of TF_CONFIG, on TensorFlow; mirrored: over the devices of one process, on TensorFlow; "
    "data_parallel: the same, or processes too, on JAX.",
    module_name=RUN,
)
flags.DEFINE_integer(
    "devices",
    None,
    "Devices of one process, under mirrored and data_parallel, which divide a processor into as "
    "many; default: all GPUs.",
    lower_bound=2,
    module_name=RUN,
)
flags.DEFINE_enum(
    "statistics",
    "synchronised",
    ("synchronised", "local"),
    "Batch statistics under --distribute: of the whole batch, or of each part by itself.",
    module_name=RUN,
)
flags.DEFINE_boolean("resume", False, "Resume the run in --out_dir.", module_name=RUN)
flags.DEFINE_string(
    "preset", None, "A recipe of the paper for the flags not given.", module_name=RUN
)
flags.DEFINE_integer(
    "verbose",
    1,
    "Progress: 0 none, 1 bars, 2 a line per epoch.",
    lower_bound=0,
    upper_bound=2,
    module_name=RUN,
)


def launch(argv: list[str]) -> None:
    """Runs the app on a command line, and ends in `SystemExit` with the exit status."""
    from apps import command

    command.plain_warnings("hetero_train")
    with command.until_unread(), command.until_stopped("hetero_train", _stopped):
        wants_help = {"--help", "-help", "-h"} & set(argv[1:])
        known = [argument for argument in argv if argument not in wants_help]
        _choose_backend(known)
        if not wants_help:
            _look_for_data(known)
        command.import_keras()
        _define_settings()
        if wants_help:
            _grouped_help()
            sys.exit(0)
        app.run(main, argv=argv, flags_parser=_parse)


def main(argv: list[str]) -> None:
    """Trains by the methods of the flags, and prints their table; an error ends in one line."""
    from apps import command
    from keras_dep import experiments
    from keras_dep.experiments import build
    from keras_dep.experiments import grid

    if len(argv) > 1:
        _fail(f"no positional arguments are taken; received {' '.join(argv[1:])!r}.")
    logging.set_verbosity(logging.WARNING)
    results = {}
    try:
        command.distribute(FLAGS.distribute, FLAGS.statistics, FLAGS.devices)
        out_dir = command.folder("out_dir", FLAGS.out_dir)
        settings, methods = _settings(), _methods()
        # Checks each method against the settings before hours of training.
        chosen = {method.name: build.settings_of(settings, method) for method in methods}
        data = build.load_data(settings)
        for method in methods:
            if command.speaks():
                print(f"\n{method.name.upper()}{_own_settings(method)}", flush=True)
            folder = os.path.join(out_dir, grid.method_folder(method.name))
            results[method.name] = experiments.run(
                chosen[method.name], method, folder, data, FLAGS.resume, FLAGS.verbose
            )
    except BrokenPipeError:
        raise
    except (ValueError, OSError) as error:
        _fail(error)
    if command.speaks():
        print(_table(results))
        print(f"\n{command.board(out_dir)}")
    command.part()


def _stopped():
    if not FLAGS.is_parsed():
        return "nothing was begun."
    return f"add --resume to continue from the last finished epoch in {FLAGS.out_dir}."


def _methods():
    """The methods of the flag, or of its former name."""
    from apps.presets import METHODS
    from keras_dep import defences

    if FLAGS.methods is not None and FLAGS.optimizer is not None:
        raise ValueError(
            f"methods or optimizer must be given, not both; received {FLAGS.methods!r} and "
            f"{FLAGS.optimizer!r}; leave --optimizer out."
        )
    usual = METHODS.get(FLAGS.preset, "sgd,dep")
    former = {None: usual, "both": "sgd,dep"}.get(FLAGS.optimizer, FLAGS.optimizer)
    return defences.parse(former if FLAGS.methods is None else FLAGS.methods)


def _own_settings(method):
    values = ", ".join(f"{name}={value}" for name, value in method.settings.items())
    return f" trains with {values}" if values else ""


def _settings():
    """The settings: values from the command line first, then the preset's, then the defaults."""
    from apps import command
    from apps.presets import PRESETS
    from keras_dep._internal import validation
    from keras_dep.experiments.settings import Settings

    if FLAGS.preset is not None:
        validation.one_of("preset", FLAGS.preset, PRESETS)
    values = {field.name: FLAGS[field.name].value for field in dataclasses.fields(Settings)}
    for name, value in PRESETS.get(FLAGS.preset, {}).items():
        if not FLAGS[name].present:
            values[name] = value
    values["data_dir"] = command.folder("data_dir", values["data_dir"])
    return Settings(**values)


def _table(results):
    """The runs side by side."""
    rows = [
        ("clean accuracy", lambda r: _percent(r["accuracy"]["clean"])),
        ("FGSM accuracy", lambda r: _percent(r["accuracy"]["fgsm"])),
        ("PGD accuracy", lambda r: _percent(r["accuracy"]["pgd"])),
        ("attacked images", lambda r: str(r["attacked_examples"])),
        ("worst accuracy after poison", lambda r: _percent(r["worst_after_poison"])),
        ("collapsed / recovered", _fate),
        ("Hessian after step", lambda r: _of_hessian(r, lambda h: h["iteration"], "{}")),
        ("Hessian spectral radius", lambda r: _of_hessian(r, lambda h: h["spectral_radius"])),
        ("lambda_1 share of top five", lambda r: _of_hessian(r, lambda h: h["leading_share"])),
        ("gradient energy in top five", lambda r: _aligned(r, "gradient_energy_in_top", "{:.2%}")),
        ("curvature along gradient", lambda r: _aligned(r, "curvature_along_gradient", "{:.4g}")),
        ("curvature along DEP's step", lambda r: _aligned(r, "curvature_along_step", "{:.4g}")),
        ("|cos| of removed to sharpest", lambda r: _aligned(r, "cosine", "{:.4f}")),
        ("seconds per step", lambda r: _seconds(r["seconds_per_step"])),
    ]
    rows.append(("overhead per step", _overhead(next(iter(results.values())))))
    widths = [max(14, 2 + len(name)) for name in results]
    lines = [_row("", [name.upper() for name in results], widths)]
    lines += [_row(label, map(show, results.values()), widths) for label, show in rows]
    (surrogate,) = {result["settings"]["surrogate"] for result in results.values()}
    if any(result["hessian"] for result in results.values()):
        lines.append(f"Hessian of the mean logits' cross-entropy, surrogate {surrogate}.")
    return "\n".join(["", *lines])


def _row(label, cells, widths):
    return f"{label:<30}" + "".join(f"{cell:>{width}}" for cell, width in zip(cells, widths))


def _overhead(first):
    """Returns a function that shows a step's time relative to the first run, in percent."""

    def show(result):
        times = result["seconds_per_step"], first["seconds_per_step"]
        return f"{100 * (times[0] / times[1] - 1):+.1f} %" if all(times) else "-"

    return show


def _percent(share):
    return "-" if share is None else f"{100 * share:.2f} %"


def _aligned(result, name, form):
    return _of_hessian(result, lambda hessian: hessian["alignment"][name], form)


def _of_hessian(result, value, form="{:.4g}"):
    if result["hessian"] is not None:
        return form.format(value(result["hessian"]))
    # Earlier revisions did not record it.
    return "not finite" if result.get("hessian_not_finite") else "-"


def _seconds(value):
    return "-" if value is None else f"{value:.4f}"


def _fate(result):
    hit = [event for event in result["collapse"] if event["collapsed"]]
    back = [event for event in hit if event["recovered_epoch"] is not None]
    return f"{len(hit)} / {len(back)}"


def _fail(message):
    from apps import command

    command.fail("hetero_train", message)


def _choose_backend(argv):
    """Parses `--backend` before the other flags: Keras reads its backend when imported."""
    from apps import command

    try:
        FLAGS(argv, known_only=True)
    except flags.Error as error:
        _fail(error)
    command.set_up(FLAGS.backend)
    FLAGS.unparse_flags()


def _look_for_data(argv):
    """Reports a missing data set at once, without the seconds that importing Keras takes."""
    from apps import command
    from apps.presets import PRESETS

    prepared = command.alone("data/tfds_files")
    early = flags.FlagValues()
    flags.DEFINE_string("preset", None, "", flag_values=early)
    flags.DEFINE_string("dataset", None, "", flag_values=early)
    flags.DEFINE_string("data_dir", None, "", flag_values=early)
    flags.DEFINE_boolean("download", False, "", flag_values=early)
    try:
        early(argv, known_only=True)
        name = early.dataset or PRESETS.get(early.preset, {}).get("dataset")
        if name in prepared.NAMES and not early.download:
            prepared.find(name, prepared.root(early.data_dir))
    except flags.Error:
        return  # `_parse`, which knows every flag, reports it
    except prepared.DataMissingError as error:
        _fail(error)


def _define_settings():
    """One flag for each field of `keras_dep.experiments.settings.Settings`."""
    from keras_dep.experiments.settings import Settings
    from keras_dep.experiments.settings import kind

    define = {
        str: flags.DEFINE_string,
        int: flags.DEFINE_integer,
        float: flags.DEFINE_float,
        bool: flags.DEFINE_boolean,
    }
    for field in dataclasses.fields(Settings):
        about = field.metadata
        text = about["help"]
        if about["choices"]:
            text = f"{text} One of {', '.join(about['choices'])}."
        define[kind(field)](field.name, field.default, help=text, module_name=about["group"])


def _grouped_help():
    from keras_dep import defences
    from keras_dep.experiments.settings import GROUPS

    groups = FLAGS.flags_by_module_dict()
    print(__doc__)
    for group in (RUN, *GROUPS):
        print(f"\n{group.upper()}")
        for flag in groups[group]:
            default = "" if flag.default is None else f" [{flag.default_as_str}]"
            print(f"  --{flag.name}: {flag.help}{default}")
    print(f"\nMETHODS\n{textwrap.indent(defences.describe(), '  ')}")


def _parse(argv):
    """Parses as absl does, with errors in one line."""
    try:
        return FLAGS(argv)
    except flags.Error as error:
        _fail(error)


if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    from apps import command

    command.finish(launch, sys.argv)
