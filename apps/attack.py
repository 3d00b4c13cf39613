"""How robust is a model? Suites of attacks, sweeps, tables and figures.

Takes any .keras file that maps images in [0, 1] to logits, or a folder that hetero_train wrote, and
writes evaluation.json, .md and .csv, checklist.json and .md, and the sweeps as .json, .md, .csv,
.png and .svg, and card.md and card.png; with --suite=corruptions it measures CIFAR-10-C and writes
corruptions.* alone. TensorBoard shows them, and adversarial images beside their originals. The same
command resumes a stopped evaluation or checklist.

  python apps/attack.py --model=runs/hetero/dep
  python apps/attack.py --model=net.keras --dataset=cifar10 --suite=reliable --examples=1000
  python apps/attack.py --model=net.keras --dataset=cifar10 --sweep=both --substitutes=other.keras
  python apps/attack.py --model=net.keras --dataset=cifar10 --examples=200 --checklist --card
  python apps/attack.py --model=runs/hetero/dep --train_substitutes=seed,ann_counterpart
  python apps/attack.py --model=runs/hetero/dep --suite=paper --protocol=released
  python apps/attack.py --model=runs/cifar/dep --suite=corruptions --baseline=sgd/corruptions.json
  python apps/attack.py --torch=net.py:make --weights=net.pth --input_shape=3,32,32 --timesteps=4

--torch takes a spiking network of SpikingJelly, snnTorch or Norse. It runs the code of the file.
--dataset names the images, and --mean and --std their statistics if the network expects any.
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
_define("string", "torch", None, "In its place FILE.py:FUNCTION, which returns a torch module.")
_define("string", "weights", None, "File of its state_dict, read with weights_only=True.")
_define("list", "input_shape", "", "Shape of an image as the module takes it, as 3,32,32.")
_define(
    "integer",
    "timesteps",
    None,
    "Steps to give the module; default: it runs over time by itself.",
    lower_bound=1,
)
_define("list", "mean", "", "Mean per channel of images in [0, 1], subtracted inside the model.")
_define("list", "std", "", "Standard deviation per channel, by which they are divided.")
_define(
    "enum",
    "backend",
    None,
    "Framework; default: KERAS_BACKEND, else Keras' own choice.",
    enum_values=("torch", "tensorflow", "jax"),
)
_define(
    "enum",
    "distribute",
    None,
    "Share the images: ddp: on torch; mirrored, multiworker: on TensorFlow; data_parallel: on JAX.",
    enum_values=("ddp", "mirrored", "multiworker", "data_parallel"),
)
_define("integer", "devices", None, "Devices of --distribute in one process; default: all.")
_define(
    "enum",
    "suite",
    "quick",
    "Attacks to run; timing: events that change their time alone, of an event set; corruptions: no "
    "attack, the corrupted images of CIFAR-10-C.",
    enum_values=("quick", "paper", "reliable", "timing", "corruptions"),
)
_define("list", "corruptions", "", "For suite=corruptions; default: the 15 of the benchmark.")
_define("list", "severities", "", "For suite=corruptions, 1 to 5; default: all.")
_define(
    "string",
    "baseline",
    None,
    "A corruptions.json of another model, whose errors normalise the mean corruption error.",
)
_define(
    "enum",
    "norm",
    "Linf",
    "Norm of the ball: linf, the largest change of a pixel, or l2, the length of the change.",
    enum_values=("Linf", "L2"),
    case_sensitive=False,
)
_define("float", "epsilon", None, "Its radius in pixel units; default: 8/255, for l2 0.5.")
_define(
    "enum",
    "estimator",
    "training",
    "Derivative of spikes in the white-box attacks of quick and paper and in the sweeps; "
    "reliable tries all.",
    enum_values=("training", "assg", "bptr", "rga", "hart", "pdsg", "conversion"),
)
_define("string", "surrogate", None, "Another surrogate in place of an estimator.")
_define("float", "width", None, "Its width; default: the usual one.")
_define(
    "enum",
    "sweep",
    "none",
    "Sweeps to add: of epsilon, of the steps of PGD, or both.",
    enum_values=("none", "epsilon", "steps", "both"),
)
_define(
    "list",
    "epsilons",
    "",
    "Radii of the sweep, of 255 grey levels or l2 lengths; default: the paper's.",
)
_define("list", "steps", "", "Steps of PGD in the sweep; default: 7 to 80, as in the paper.")
_define("list", "substitutes", "", "Models, given as in --model, to transfer images from.")
_define(
    "list",
    "train_substitutes",
    "",
    "Models to train for that, with the settings of the run in --model: seed (another), "
    "architecture (another), ann_counterpart (ReLUs in place of spiking neurons; formerly twin).",
)
_define("boolean", "checklist", False, "Check for obfuscated gradients too.")
_define(
    "boolean", "card", False, "Write a result card, card.md and card.png; sweeps epsilon for it."
)
_define("list", "checks", "", "Numbers of the checks to run; default: all.")
flags.DEFINE_alias("checklist_rows", "checks", flag_values=FLAGS)
_define(
    "enum",
    "protocol",
    "described",
    "released: also measure as the paper's released code, which attacks otherwise than described, "
    "with controls.",
    enum_values=("described", "released"),
)
_define("integer", "pictures", 4, "Adversarial images for TensorBoard, per attack.", lower_bound=0)
_define(
    "boolean",
    "early_exit",
    None,
    "Attack only images that no attack has broken; default: in reliable only.",
)
_define("string", "dataset", None, "Data set, or an .npz file; default: the run's data set.")
_define("string", "data_dir", None, "TFDS folder; default: the user's.")
_define(
    "enum",
    "frames_by",
    None,
    "Frames of an event set: by count or by time; default: as the run in --model, else by count.",
    enum_values=("count", "time"),
)
_define(
    "integer",
    "frame_saturation",
    None,
    "Events that make a pixel of a frame 1; default: as the run in --model, else 8.",
    lower_bound=1,
)
_define(
    "integer", "examples", 1000, "First n test images; fewer if there are fewer.", lower_bound=1
)
_define("integer", "batch_size", 128, "Images at a time.", lower_bound=1)
_define("integer", "seed", 0, "Seed of every attack.", lower_bound=0)
_define("string", "out_dir", "runs/attack", "Folder of the results.")
_define("integer", "verbose", 1, "Progress: 0 none, 1 bars, 2 lines.", lower_bound=0, upper_bound=2)


def launch(argv: list[str]) -> None:
    """Runs the app on a command line, and ends in `SystemExit` with the exit status."""
    from apps import command

    if any(each.startswith(("--torch=", "-torch=")) for each in argv):
        os.environ.setdefault("KERAS_BACKEND", "torch")

    def stopped():
        return f"the same command resumes from the files in {FLAGS.out_dir}."

    command.launch(argv, "attack", __doc__, FLAGS, main, stopped)


def main() -> None:
    """Measures the model of the flags; raises `ValueError` or `OSError` for one line."""
    from apps import attack_checks
    from apps import command
    from apps import model_files

    lists = attack_checks.check(FLAGS)
    command.distribute(FLAGS.distribute, devices=FLAGS.devices)
    if FLAGS.torch:
        path, facts = FLAGS.torch, {}
        data, images, labels = _data(facts, None)
        model, origin = _torch_model(images, lists)
        facts |= origin
    else:
        path = os.path.expanduser(FLAGS.model)
        model, facts = model_files.load(path)
        data, images, labels = _data(facts, model)
    others = {other: model_files.load(other)[0] for other in lists["substitutes"]}
    for name, each in {path: model, **others}.items():
        model_files.check(each, name, data, images)
    attack_checks.check_model(FLAGS, model)
    with command.claimed(command.folder("out_dir", FLAGS.out_dir)):
        if FLAGS.suite == "corruptions":
            _corrupt(model, data, images, labels, facts, lists)
            return
        _attack(model, list(others.values()), data, images, labels, facts, lists)
    command.part()


def _torch_model(images, lists):
    from apps import model_files
    from apps import torch_models

    return torch_models.load(
        FLAGS.torch,
        FLAGS.weights,
        lists["input_shape"],
        FLAGS.timesteps,
        lists["mean"],
        lists["std"],
        images[: model_files.PROBES],
    )


def _attack(model, substitutes, data, images, labels, facts, lists):
    from apps import attack_checks
    from apps import attack_report
    from apps import command
    from keras_dep import evaluation
    from keras_dep.evaluation import report
    from keras_dep.evaluation import suites

    out = attack_report.Report(command.folder("out_dir", FLAGS.out_dir))
    epsilon = suites.radius(FLAGS.norm, FLAGS.epsilon)
    if FLAGS.train_substitutes:
        substitutes += _train_substitutes()
    common = {"batch_size": FLAGS.batch_size, "seed": FLAGS.seed, "substitutes": substitutes}
    white = {**common, "norm": FLAGS.norm, **attack_checks.derivative(FLAGS)}
    record = evaluation.evaluate(
        model,
        images,
        labels,
        FLAGS.suite,
        epsilon=epsilon,
        early_exit=FLAGS.early_exit,
        file=out.path("evaluation.json"),
        facts=facts,
        verbose=_verbose(),
        **white,
    )
    out.file("evaluation.csv", report.table(record["attacks"]))
    with out:
        out.text("evaluation", report.markdown(record))
        out.scalar("evaluation/clean", record["clean"]["accuracy"])
        out.scalar("evaluation/worst_case", record["worst_case"]["accuracy"])
        _show_pictures(model, images, labels, record, substitutes, out)
        if FLAGS.protocol == "released":
            _report_released(model, images, labels, epsilon, out)
        results, points = [], []
        if FLAGS.checklist:
            results = evaluation.checklist(
                model,
                images,
                labels,
                epsilon=epsilon,
                checks=lists["checks"] or None,
                file=out.path("checklist.json"),
                verbose=min(_verbose(), 1),
                **common,
            )
            out.text("checklist", evaluation.checklist_table(results))
        title = f"{facts['model_file']} ({model.name})"
        chance = 1 / data.num_classes
        if FLAGS.sweep in ("epsilon", "both") or FLAGS.card:
            chosen = {"epsilons": lists["epsilons"]} if lists["epsilons"] else {}
            points = evaluation.epsilon_sweep(model, images, labels, **chosen, **white)
        if FLAGS.sweep in ("epsilon", "both"):
            out.sweep("epsilon", points, title, chance, FLAGS.norm)
        if FLAGS.sweep in ("steps", "both"):
            chosen = {"steps": lists["steps"]} if lists["steps"] else {}
            chosen["epsilon"] = epsilon
            steps = evaluation.step_sweep(model, images, labels, **chosen, **white)
            out.sweep("steps", steps, title, chance, FLAGS.norm)
        if FLAGS.card:
            out.card(record, points, results, title, chance)
    out.ended()


def _verbose():
    from apps import command

    return FLAGS.verbose if command.speaks() else 0


def _corrupt(model, data, images, labels, facts, lists):
    from apps import command
    from apps import corruptions
    from keras_dep.summaries import EventWriter

    # The run's folder may have named another set.
    data_dir = command.folder("data_dir", FLAGS.data_dir)
    corruptions.check(data.name, lists["corruptions"], lists["severities"], data_dir)
    out_dir = command.folder("out_dir", FLAGS.out_dir)
    with EventWriter(out_dir) as writer:
        text = corruptions.run(
            model,
            images,
            labels,
            facts,
            corruptions=lists["corruptions"],
            severities=lists["severities"],
            baseline=FLAGS.baseline,
            data_dir=data_dir,
            out_dir=out_dir,
            title=f"{facts['model_file']} ({model.name})",
            batch_size=FLAGS.batch_size,
            verbose=FLAGS.verbose,
            writer=writer,
        )
    print(f"{text}\nresults in {FLAGS.out_dir}\n{command.board(out_dir)}")


def _train_substitutes():
    from apps import command
    from keras_dep.experiments import substitute_models

    return substitute_models.train(
        os.path.expanduser(FLAGS.model),
        FLAGS.train_substitutes,
        os.path.join(command.folder("out_dir", FLAGS.out_dir), "substitutes"),
        data_dir=command.folder("data_dir", FLAGS.data_dir),
        verbose=_verbose(),
    )


def _show_pictures(model, images, labels, record, substitutes, out):
    """Shows adversarial images of the first that were right."""
    if FLAGS.suite == "timing":
        return
    import numpy as np

    from keras_dep import attacks
    from keras_dep.evaluation import suites

    right = [index for index, by in enumerate(record["broken_by"]) if by != "clean"]
    chosen = np.array(right[: FLAGS.pictures], "int64")
    threat = record["protocol"]
    ball = {"norm": threat["norm"], "epsilon": threat["epsilon"], "seed": FLAGS.seed}
    white = attacks.PGD(step_size=suites.step_size(ball["norm"], ball["epsilon"]), **ball)
    shown = {"white_box": white, "black_box": attacks.Square(queries=100, **ball)}
    if substitutes:
        shown["transferred"] = attacks.Transfer(white, substitutes)
    out.pictures(model, images[chosen], labels[chosen], shown, FLAGS.batch_size)


def _report_released(model, images, labels, epsilon, out):
    import warnings

    from keras_dep import evaluation
    from keras_dep.evaluation import report
    from keras_dep.evaluation.reference_protocol import CAUTION

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = evaluation.released_protocol(
            model,
            images,
            labels,
            epsilon=epsilon,
            seed=FLAGS.seed,
            batch_size=FLAGS.batch_size,
        )
    if out.chief:
        print(CAUTION)
    out.file("released.json", json.dumps(results, indent=1))
    out.text("released", report.released_markdown(results))


def _data(facts, model):
    """Returns the data set, and its first test images and labels."""
    from apps import command
    from apps import data_files
    from apps import model_files

    name = FLAGS.dataset or facts.get("dataset")
    data_files.check(name)
    facts["dataset"] = name
    given = {"by": FLAGS.frames_by, "saturation": FLAGS.frame_saturation}
    framing = model_files.framing(model, name, facts, given)
    folder = command.folder("data_dir", FLAGS.data_dir)
    data, images, labels = data_files.load(name, folder, FLAGS.examples, framing)
    facts["dataset"] = data.name
    return data, images, labels


if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    from apps import command

    command.finish(launch, sys.argv)
