"""The pages docs/claims.md and docs/tables.md, from what apps/reproduce.py left in results/.

python apps/claims.py
"""

import os
import sys

from absl import flags

FLAGS = flags.FlagValues()
flags.DEFINE_string("results_dir", "results", "Folder of the results.", flag_values=FLAGS)
flags.DEFINE_string("page", "docs/claims.md", "The page of claims.", flag_values=FLAGS)
flags.DEFINE_string("tables_page", "docs/tables.md", "The page of tables.", flag_values=FLAGS)
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

    command.launch(argv, "claims", __doc__, FLAGS, main, lambda: "the pages are as they were.")


def main():
    """Writes the pages."""
    from keras_dep._internal import atomic_io
    from keras_dep.studies import result_pages

    pages = {
        FLAGS.page: result_pages.claims_page(FLAGS.results_dir),
        FLAGS.tables_page: result_pages.tables_page(FLAGS.results_dir),
    }
    for path, text in pages.items():
        with atomic_io.whole_file(path) as unfinished, open(unfinished, "w") as file:
            file.write(text)


if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    from apps import command

    command.finish(launch, sys.argv)
