"""How robust is a model? Suites of attacks, sweeps, tables and figures.

Takes any .keras file that maps images in [0, 1] to logits, or a folder that hetero_train left, and
writes evaluation.json, .md and .csv, checklist.json and .md, and the sweeps as .json, .md, .csv,
.png and .svg; TensorBoard shows all of it, and adversarial images beside what they were made of. A
stopped run started again goes on with its evaluation and its checklist.

  python apps/attack.py --model=runs/hetero/dep
  python apps/attack.py --model=net.keras --dataset=cifar10 --suite=reliable --examples=1000
  python apps/attack.py --model=net.keras --dataset=cifar10 --sweep=both --substitutes=other.keras
  python apps/attack.py --model=net.keras --dataset=cifar10 --examples=200 --checklist
  python apps/attack.py --model=runs/hetero/dep --suite=reliable --train_substitutes=seed,twin
  python apps/attack.py --model=runs/hetero/dep --suite=paper --protocol=released
"""

import json
import os
import sys

from absl import flags

FLAGS = flags.FlagValues()


def _define(kind, name, default, text, **limits):
    getattr(flags, f"DEFINE_{kind}")(
        name=name, default=default, help=text, flag_values=FLAGS, **limits
    )


_define("string", "model", None, "A .keras file, or the folder of a run with model.keras.")
_define("enum", "backend", None, "Framework; default: KERAS_BACKEND, else Keras' own choice.",
        enum_values=("torch", "tensorflow", "jax"))  # fmt: skip
_define("enum", "suite", "quick", "Attacks to run.", enum_values=("quick", "paper", "reliable"))
_define("enum", "norm", "Linf", "Ball: linf, the largest change of a pixel, or l2, the length of "
        "the change of an image.", enum_values=("Linf", "L2"), case_sensitive=False)  # fmt: skip
_define("float", "epsilon", None, "Its radius in pixel units; default: 8/255, for l2 0.5.")
_define("enum", "estimator", "training", "Derivative of spikes that the white-box attacks of quick "
        "and paper and the sweeps look through; reliable tries all.",
        enum_values=("training", "assg", "bptr", "rga", "hart", "pdsg", "conversion"))  # fmt: skip
_define("string", "surrogate", None, "In its place another surrogate.")
_define("float", "width", None, "Width of that; default: the usual one.")
_define("enum", "sweep", "none", "Sweeps to add: of epsilon, of the steps of PGD, or both.",
        enum_values=("none", "epsilon", "steps", "both"))  # fmt: skip
_define("list", "epsilons", "", "Radii of the sweep in grey levels of 255, lengths for l2; "
        "default: the paper's.")  # fmt: skip
_define("list", "steps", "", "Numbers of steps of the sweep; default: 7 to 80, as in the paper.")
_define("list", "substitutes", "", "Models, as in --model, to transfer images from.")
_define("list", "train_substitutes", "", "Such models to train first, as the run in --model was: "
        "seed (another), architecture (another), twin (ReLUs for spikes).")  # fmt: skip
_define("boolean", "checklist", False, "Look for signs of obfuscated gradients too.")
_define("list", "checklist_rows", "", "Numbers of its rows; default: all.")
_define("enum", "protocol", "described", "released: also what the paper's released code, which "
        "attacks otherwise than described, would report, with controls.",
        enum_values=("described", "released"))  # fmt: skip
_define("integer", "pictures", 4, "Adversarial images for TensorBoard, per attack.",
        lower_bound=0)  # fmt: skip
_define("boolean", "early_exit", None, "Attack only what still stands; default: in reliable only.")
_define("string", "dataset", None, "Data set; default: the one of the run's folder.")
_define("string", "data_dir", None, "TFDS folder; default: the user's.")
_define("integer", "examples", 1000, "First n test images; fewer if there are fewer.",
        lower_bound=1)  # fmt: skip
_define("integer", "batch_size", 128, "Images at a time.", lower_bound=1)
_define("integer", "seed", 0, "Seed of every attack.", lower_bound=0)
_define("string", "out_dir", "runs/attack", "Folder of the results.")
_define("integer", "verbose", 1, "Progress: 0 none, 1 bars, 2 lines.", lower_bound=0, upper_bound=2)


def launch(argv):
    """From a command line to the exit status, as `SystemExit`."""
    from apps import command

    def stopped():
        return f"the same command goes on with what is in {FLAGS.out_dir}."

    command.launch(argv, "attack", __doc__, FLAGS, main, stopped)


def main():
    if not FLAGS.model:
        raise ValueError("model must be a .keras file or the folder of a run; received none.")
    scale = 255 if FLAGS.norm == "Linf" else 1
    radii = [number / scale for number in _numbers("epsilons", float)]
    lengths, numbers = _numbers("steps", int), _numbers("checklist_rows", int)
    model, facts = _load(FLAGS.model)
    substitutes = [_load(path)[0] for path in FLAGS.substitutes]
    _check_substitutes()
    images, labels = _data(model, facts)

    from keras_dep import evaluation
    from keras_dep.evaluation import report
    from keras_dep.summaries import EventWriter

    epsilon = _check(model, radii, numbers)
    os.makedirs(FLAGS.out_dir, exist_ok=True)
    if FLAGS.train_substitutes:
        substitutes += _train_substitutes()
    common = {"batch_size": FLAGS.batch_size, "seed": FLAGS.seed, "substitutes": substitutes}
    white = {**common, "norm": FLAGS.norm, **_derivative()}
    record = evaluation.evaluate(
        model,
        images,
        labels,
        FLAGS.suite,
        epsilon=epsilon,
        early_exit=FLAGS.early_exit,
        file=_path("evaluation.json"),
        facts=facts,
        verbose=FLAGS.verbose,
        **white,
    )
    text = report.markdown(record)
    _write("evaluation.md", text)
    _write("evaluation.csv", report.table(record["attacks"]))
    print(text)
    with EventWriter(FLAGS.out_dir) as writer:
        writer.text("evaluation", text, 0)
        writer.scalar("evaluation/clean", record["clean"]["accuracy"], 0)
        writer.scalar("evaluation/worst_case", record["worst_case"]["accuracy"], 0)
        _show_pictures(model, images, labels, record, substitutes, writer)
        if FLAGS.protocol == "released":
            _report_released(model, images, labels, epsilon, writer)
        if FLAGS.checklist:
            rows = evaluation.checklist(
                model,
                images,
                labels,
                epsilon=epsilon,
                rows=numbers or None,
                file=_path("checklist.json"),
                verbose=min(FLAGS.verbose, 1),
                **common,
            )
            _report_text("checklist", evaluation.checklist_table(rows), writer)
        if FLAGS.sweep in ("epsilon", "both"):
            chosen = {"epsilons": radii} if radii else {}
            rows = evaluation.epsilon_sweep(model, images, labels, **chosen, **white)
            _report_sweep("epsilon", rows, model, facts, writer, 255 if scale == 255 else 1000)
        if FLAGS.sweep in ("steps", "both"):
            chosen = {"steps": lengths} if lengths else {}
            rows = evaluation.step_sweep(model, images, labels, epsilon=epsilon, **chosen, **white)
            _report_sweep("steps", rows, model, facts, writer, 1)
    print(f"results in {FLAGS.out_dir}\ntensorboard --logdir {FLAGS.out_dir}")


def _check(model, radii, numbers):
    """The radius; what cannot be done is said ahead of hours of work, as `ValueError`."""
    from keras_dep.attacks.released import pixel_statistics
    from keras_dep.evaluation import suites
    from keras_dep.evaluation.checklist import check_rows
    from keras_dep.substitution import spiking_layers

    check_rows(numbers)
    epsilon = suites.radius(FLAGS.norm, FLAGS.epsilon)
    for radius in radii:
        suites.radius(FLAGS.norm, radius)
    spiking = bool(spiking_layers(model))
    suites.build(FLAGS.suite, norm=FLAGS.norm, epsilon=epsilon, spiking=spiking, **_derivative())
    if FLAGS.norm != "Linf" and (FLAGS.checklist or FLAGS.protocol == "released"):
        what = "checklist" if FLAGS.checklist else "protocol=released"
        raise ValueError(f"{what} knows the L-infinity ball alone; received norm={FLAGS.norm}.")
    if FLAGS.protocol == "released":
        pixel_statistics(model)
    return epsilon


def _check_substitutes():
    from keras_dep import experiment
    from keras_dep import substitutes

    substitutes.check(FLAGS.train_substitutes)
    if FLAGS.train_substitutes and not os.path.isdir(FLAGS.model):
        raise ValueError(
            f"train_substitutes needs the settings of a run, and {FLAGS.model!r} is a file; name "
            "the run's folder in --model, or trained models in --substitutes."
        )
    if FLAGS.train_substitutes:
        experiment.finished(FLAGS.model)


def _train_substitutes():
    from keras_dep import substitutes

    return substitutes.train(
        FLAGS.model,
        FLAGS.train_substitutes,
        _path("substitutes"),
        data_dir=FLAGS.data_dir,
        verbose=FLAGS.verbose,
    )


def _derivative():
    """What the white-box attacks of the small suites look through."""
    estimator = None if FLAGS.estimator == "training" else FLAGS.estimator
    return {"estimator": estimator, "surrogate": FLAGS.surrogate, "width": FLAGS.width}


def _show_pictures(model, images, labels, record, substitutes, writer):
    """Clean, adversarial and difference, of the first images that were right."""
    import numpy as np

    from keras_dep import attacks
    from keras_dep import evaluation
    from keras_dep.evaluation import suites

    right = [index for index, by in enumerate(record["broken_by"]) if by != "clean"]
    chosen = np.array(right[: FLAGS.pictures], "int64")
    if not len(chosen) or images.ndim != 4 or images.shape[-1] not in (1, 3):
        return
    threat = record["protocol"]
    ball = {"norm": threat["norm"], "epsilon": threat["epsilon"], "seed": FLAGS.seed}
    white = attacks.PGD(step_size=suites.step_size(ball["norm"], ball["epsilon"]), **ball)
    shown = {"white_box": white, "black_box": attacks.Square(queries=100, **ball)}
    if substitutes:
        shown["transferred"] = attacks.Transfer(white, substitutes)
    for name, attack in shown.items():
        crafted = attack(model, images[chosen], labels[chosen])
        reach = float(np.abs(crafted - images[chosen]).max())
        triples = evaluation.side_by_side(images[chosen], crafted, reach)
        tag = f"clean_adversarial_difference/{name}"
        writer.image(tag, triples, 0, max_images=len(triples))


def _report_released(model, images, labels, epsilon, writer):
    import warnings

    from keras_dep import evaluation
    from keras_dep.evaluation import report
    from keras_dep.evaluation.released import CAUTION

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rows = evaluation.released_protocol(
            model,
            images,
            labels,
            epsilon=epsilon,
            seed=FLAGS.seed,
            batch_size=FLAGS.batch_size,
        )
    print(CAUTION)
    _write("released.json", json.dumps(rows, indent=1))
    _report_text("released", report.released_markdown(rows), writer)


def _report_text(name, text, writer):
    _write(f"{name}.md", text)
    writer.text(name, text, 0)
    print(text)


def _report_sweep(axis, rows, model, facts, writer, scale):
    from keras_dep.evaluation import figures
    from keras_dep.evaluation import report

    name = f"sweep_{axis}"
    _write(f"{name}.json", json.dumps(rows, indent=1))
    _write(f"{name}.csv", report.table(rows))
    paths = [_path(f"{name}.{ending}") for ending in ("png", "svg")]
    title = f"{facts['model_file']} ({model.name})"
    figures.draw_sweep(rows, paths, chance=1 / model.output_shape[-1], name=title)
    for row in rows:
        writer.scalar(f"{name}/{row['attack']}", row["accuracy"], round(scale * row[axis]))
    _report_text(name, report.sweep_markdown(rows), writer)


def _load(path):
    """A model and what its run says of it."""
    import keras

    import keras_dep  # noqa: F401  registers what the file names

    facts = {"model_file": os.path.basename(os.path.normpath(path))}
    if os.path.isdir(path):
        result = os.path.join(path, "result.json")
        if os.path.exists(result):
            with open(result) as file:
                run = json.load(file)
            facts |= {"checkpoint": "last epoch", "trained_with": run["optimizer"]}
            facts |= {
                "dataset": run["settings"]["dataset"],
                "training_seed": run["settings"]["seed"],
            }
            facts["training_loss"] = run["settings"]["loss"]
        path = os.path.join(path, "model.keras")
    if not os.path.isfile(path):
        raise ValueError(f"model {path!r} is not there; name a .keras file or the folder of a run.")
    return keras.saving.load_model(path, compile=False), facts


def _data(model, facts):
    import numpy as np

    from keras_dep import datasets

    name = FLAGS.dataset or facts.get("dataset")
    if name not in datasets.names():
        raise ValueError(
            f"dataset must be one of {', '.join(datasets.names())}; received {name!r}; "
            "set --dataset."
        )
    facts["dataset"] = name
    data = datasets.load(name, data_dir=FLAGS.data_dir)
    images = data.x_test[: FLAGS.examples]
    if tuple(model.input_shape[1:]) != images.shape[1:]:
        raise ValueError(
            f"model takes images {tuple(model.input_shape[1:])}; {name} has {images.shape[1:]}; "
            "set --dataset to the set it was trained on."
        )
    return images.astype("float32") / np.float32(255), data.y_test[: FLAGS.examples]


def _numbers(name, kind):
    try:
        return [kind(part) for part in FLAGS[name].value]
    except ValueError:
        raise ValueError(
            f"{name} must be numbers with commas between; received {FLAGS[name].value}."
        ) from None


def _path(name):
    return os.path.join(FLAGS.out_dir, name)


def _write(name, text):
    from keras_dep import durable

    with durable.whole_file(_path(name)) as unfinished, open(unfinished, "w") as file:
        file.write(text)


if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    from apps import command

    command.finish(launch, sys.argv)
