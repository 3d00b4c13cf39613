"""Prepares, checks and shows the image sets that the other apps train on.

prepare brings a set into the folder of TensorFlow Datasets, or says what to download by hand and
where to put it. check compares files, counts and checksums with those of the published set, and
decodes every image. show draws training images before and after augmentation.

  python apps/data.py prepare --dataset=cifar10 --data_dir=~/tensorflow_datasets
  python apps/data.py prepare --dataset=tiny_imagenet --data_dir=DIR --manual_dir=FOLDER
  python apps/data.py check --dataset=tiny_imagenet --data_dir=DIR
  python apps/data.py show --dataset=tiny_imagenet --data_dir=DIR --augment=standard --out=tiny.png
"""

import os
import sys

from absl import flags

FLAGS = flags.FlagValues()
COMMANDS = ("prepare", "check", "show")
FAULTY = 1


def _define(kind, name, default, text, **limits):
    getattr(flags, f"DEFINE_{kind}")(
        name=name, default=default, help=text, flag_values=FLAGS, **limits
    )


_define("string", "dataset", None, "Image set; digits, cifar10, cifar100, tiny_imagenet, ...")
_define("string", "data_dir", None, "TFDS folder; default: the user's.")
_define("string", "manual_dir", None, "Folder of the archives that were downloaded by hand.")
_define("string", "augment", "paper", "Augmentation that show draws.")
_define("string", "out", "samples.png", "Picture that show writes.")
_define("integer", "rows", 6, "Images in the picture.", lower_bound=1)
_define("integer", "columns", 8, "Pictures of each image, the first one untouched.", lower_bound=1)
_define("integer", "seed", 0, "Seed of the augmentation.", lower_bound=0)
_define(
    "enum",
    "backend",
    None,
    "Framework, of which nothing is computed; default: KERAS_BACKEND, else Keras' own choice.",
    enum_values=("torch", "tensorflow", "jax"),
)


def launch(argv):
    """From a command line to the exit status, as `SystemExit`."""
    from apps import command

    chosen, *others = [each for each in argv[1:] if not each.startswith("-")] or [None]
    wants_help = {"--help", "-help", "-h"} & set(argv[1:])
    if not wants_help and (chosen not in COMMANDS or others):
        received = " ".join([chosen or "nothing", *others])
        command.fail("data", f"one of {', '.join(COMMANDS)} must be given; received {received}.")
    argv = [each for each in argv if each != chosen]
    run = {"prepare": prepare, "check": check, "show": show, None: None}.get(chosen)
    command.launch(argv, "data", __doc__, FLAGS, run, lambda: "run the same command again.")


def prepare():
    """Prepares a set."""
    from apps import command
    from keras_dep.data import preparation

    name = _dataset()
    manual_dir = command.folder("manual_dir", FLAGS.manual_dir)
    preparation.prepare(name, _data_dir(), manual_dir, report=_report)


def check():
    """Checks a set; the exit status is 1 if it is not the published one."""
    from keras_dep.data import preparation

    faults = preparation.check(_dataset(), _data_dir(), report=_report)
    print("\n".join(faults) if faults else "no fault found.")
    if faults:
        sys.exit(FAULTY)


def show():
    """Draws images of a set."""
    from keras_dep.data import picture
    from keras_dep.data import sources

    data = sources.load(_dataset(), data_dir=_data_dir())
    drawn = picture.grid(data.train, FLAGS.augment, FLAGS.rows, FLAGS.columns, FLAGS.seed)
    picture.save(drawn, os.path.expanduser(FLAGS.out))
    print(f"{FLAGS.out}: {FLAGS.rows} training images of {data.name}, then augmented.")


def _dataset():
    from keras_dep._internal import validation
    from keras_dep.data import sources

    return validation.one_of("dataset", FLAGS.dataset, sources.names(), "set --dataset")


def _data_dir():
    from apps import command

    return command.folder("data_dir", FLAGS.data_dir)


def _report(line):
    print(line, flush=True)


if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    from apps import command

    command.finish(launch, sys.argv)
