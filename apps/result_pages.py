"""Pages from results/: docs/claims.md, docs/tables.md, excerpts in others, and their picture.

python apps/result_pages.py
"""

import os
import sys

from absl import flags

FLAGS = flags.FlagValues()
flags.DEFINE_string(
    "results_dir", "results", "Folder that apps/reproduce.py left JSON in.", flag_values=FLAGS
)
flags.DEFINE_string("claims", "docs/claims.md", "The page of claims.", flag_values=FLAGS)
flags.DEFINE_string("tables", "docs/tables.md", "The page of tables.", flag_values=FLAGS)
flags.DEFINE_list(
    "excerpts",
    ["README.md", "docs/guides/reproduction.md"],
    "Pages whose marked excerpts are made anew.",
    flag_values=FLAGS,
)
flags.DEFINE_string("picture", "docs/images/results.svg", "The picture.", flag_values=FLAGS)
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

    command.launch(argv, "result_pages", __doc__, FLAGS, main, lambda: "the pages are whole.")


def main():
    """Writes the pages."""
    from keras_dep._internal import atomic_io
    from keras_dep.studies import excerpts
    from keras_dep.studies import result_pages

    lines = excerpts.lines_of(FLAGS.results_dir)
    # All are made before the first is written: a mistake leaves them as they were.
    pages = {
        FLAGS.claims: result_pages.claims_page(FLAGS.results_dir),
        FLAGS.tables: result_pages.tables_page(FLAGS.results_dir),
        FLAGS.picture: excerpts.picture(lines),
        **{path: excerpts.renewed(_read(path), lines) for path in FLAGS.excerpts},
    }
    for path, text in pages.items():
        with atomic_io.whole_file(path) as unfinished, open(unfinished, "w") as file:
            file.write(text)


def _read(path):
    try:
        with open(path) as file:
            return file.read()
    except OSError as error:
        raise ValueError(
            f"excerpts must name pages; {path} cannot be read ({error.strerror}); run it in the "
            "checkout, or give --excerpts."
        ) from error


if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    from apps import command

    command.finish(launch, sys.argv)
