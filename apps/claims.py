"""The page docs/claims.md, from the tables that apps/reproduce.py left in results/.

python apps/claims.py
"""

import os
import sys

from absl import flags

FLAGS = flags.FlagValues()
flags.DEFINE_string("results_dir", "results", "Folder of the results.", flag_values=FLAGS)
flags.DEFINE_string("page", "docs/claims.md", "The page to write.", flag_values=FLAGS)
flags.DEFINE_enum(
    "backend",
    None,
    ("torch", "tensorflow", "jax"),
    "Framework, of which nothing is computed; default: KERAS_BACKEND, else Keras' own choice.",
    flag_values=FLAGS,
)


def launch(argv):
    """From a command line to the exit status, as `SystemExit`."""
    from apps import command

    command.launch(argv, "claims", __doc__, FLAGS, main, lambda: "the page is as it was.")


def main():
    """Writes the page."""
    from keras_dep._internal import atomic_io
    from keras_dep.studies import result_files

    text = result_files.claims_page(FLAGS.results_dir)
    with atomic_io.whole_file(FLAGS.page) as unfinished, open(unfinished, "w") as file:
        file.write(text)


if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    from apps import command

    command.finish(launch, sys.argv)
