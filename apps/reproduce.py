"""The paper's tables and figures, remade at a scale that the machine allows.

Plans the runs, trains what is missing through the code of apps/hetero_train.py, measures the
trained networks, and writes Markdown, CSV, JSON, PNG and SVG with the paper's figures beside ours.
Runs are shared between tables and never trained twice; a stopped command goes on where it was. A
run that fails leaves a hole with its reason in the tables.

  python apps/reproduce.py --table=all --figure=all --scale=smoke
  python apps/reproduce.py --table=1,3 --scale=cpu --data_dir=~/tensorflow_datasets --dry_run
  python apps/reproduce.py --table=all --figure=all --scale=cpu --results_dir=results
  python apps/reproduce.py --table=all --scale=paper --out_dir=/shared/paper --engine=ray
  python apps/reproduce.py --table=all --scale=paper --out_dir=/shared/paper --shard=2/8
  python apps/reproduce.py --table=all --scale=cpu --results_dir=results --part=more-seeds
"""

import os
import sys
import time

from absl import flags

FLAGS = flags.FlagValues()


def _define(kind, name, default, text, **limits):
    getattr(flags, f"DEFINE_{kind}")(
        name=name, default=default, help=text, flag_values=FLAGS, **limits
    )


_define("list", "table", "", "Tables: 1, 2, 3, 4, growth, several of them, or all.")
_define("list", "figure", "", "Figures: 1, 2, 3, 4, growth, several of them, or all.")
_define(
    "string",
    "scale",
    "smoke",
    "smoke (digits, minutes), cpu_small (256 images of CIFAR-10, hours), cpu (digits and CIFAR-10, "
    "a day), gpu (VGG-11 on CIFAR-10) or paper (its settings).",
)
_define(
    "enum",
    "backend",
    None,
    "Framework; default: KERAS_BACKEND, else Keras' own choice.",
    enum_values=("torch", "tensorflow", "jax"),
)
_define("string", "out_dir", None, "Folder of runs and tables; default: runs/reproduce/<scale>.")
_define(
    "string",
    "results_dir",
    None,
    "Folder that gets the JSON of tables too, below the scale's name, for docs/claims.md.",
)
_define(
    "string",
    "part",
    None,
    "Fill the holes of the tables in --results_dir: train and measure what those lack alone, and "
    "leave it there in a folder of this name, which docs/claims.md joins with them.",
)
_define("string", "data_dir", None, "TFDS folder; default: the user's.")
_define(
    "boolean",
    "dry_run",
    False,
    "Print the plan and end, its times from a few steps of each method.",
)
_define("list", "machines", "1", "Numbers of machines that --dry_run forecasts the hours for.")
_define(
    "enum",
    "engine",
    "local",
    "local: one run after the other in this process; ray: each run "
    "and measurement a task of a Ray cluster, that of RAY_ADDRESS if set.",
    enum_values=("local", "ray"),
)
_define(
    "float", "cpus_per_run", 1.0, "Processors of a task of Ray, and its threads.", lower_bound=0
)
_define(
    "float", "gpus_per_run", 0.0, "GPUs of a task of Ray; 0.5 lets two share one.", lower_bound=0
)
_define(
    "integer",
    "retries",
    3,
    "How often Ray starts a task again whose process or node died; -1: always.",
    lower_bound=-1,
)
_define(
    "string",
    "shard",
    None,
    "i/n: train and measure the i-th of n parts of the runs, beside "
    "other processes with the other parts; --notrain makes the tables afterwards.",
)
_define(
    "boolean",
    "train",
    True,
    "Train and measure what is missing; --notrain makes tables and figures of what is there.",
)
_define(
    "integer",
    "verbose",
    0,
    "Progress of training: 0 none, 1 bars, 2 a line per epoch.",
    lower_bound=0,
    upper_bound=2,
)


def launch(argv):
    """From a command line to the exit status, as `SystemExit`."""
    from apps import command

    def stopped():
        return f"the same command goes on with what is in {_out_dir()}."

    command.launch(argv, "reproduce", __doc__, FLAGS, main, stopped)


def main():
    """Plans, trains, measures and renders."""
    from apps import command
    from keras_dep import _backend
    from keras_dep.studies import catalogue
    from keras_dep.studies import plan as plans
    from keras_dep.studies import scales
    from keras_dep.studies import shards

    tables = _names("table", catalogue.STUDIES)
    figures = _names("figure", catalogue.FIGURES)
    if not tables and not figures:
        raise ValueError("table or figure must be given; received neither; write --table=all.")
    shard = None if FLAGS.shard is None else shards.parse(FLAGS.shard)
    machines = command.entries(FLAGS, "machines", int)
    if machines and min(machines) < 1:
        raise ValueError(f"machines must be at least 1; received {min(machines)}.")
    scale = scales.find(FLAGS.scale)
    data_dir = command.folder("data_dir", FLAGS.data_dir)
    if data_dir is not None:
        scale = scale.with_data(data_dir=data_dir)
    studies = _completing(catalogue.chosen(tables, figures), scale)
    out_dir = _out_dir()
    whole = plans.plan(studies, scale, out_dir, data_dir, shard)
    # What is left costs nothing where nothing is trained; its forecast may try slow steps.
    if FLAGS.train or FLAGS.dry_run:
        print(whole.text(FLAGS.dry_run, machines if FLAGS.dry_run else ()), flush=True)
    if FLAGS.dry_run:
        return
    engine, reasons = _engine(), {}
    # Shards of one folder run side by side: each run is locked by itself.
    place = out_dir if shard is None else os.path.join(out_dir, "shards", shard.name)
    # The runs of all seeds compile the same programs.
    with command.claimed(place), _backend.programs_kept():
        if FLAGS.train and (engine.together or shard is not None):
            reasons = whole.carry_out(engine, _say, FLAGS.verbose)
        if shard is not None:
            print(f"shard {shard.name} has ended; --notrain makes the tables of all shards.")
            return
        # The smaller data set first: every table has its rows before the long runs begin.
        one_by_one = FLAGS.train and not engine.together
        for part in scale.by_workload() if one_by_one else [scale]:
            for study in studies:
                if one_by_one:
                    piece = plans.plan([study], part, out_dir, data_dir)
                    reasons |= piece.carry_out(engine, _say, FLAGS.verbose)
                _render(study, scale, out_dir, reasons, tables, figures)
    print(f"\n{command.board(os.path.join(out_dir, 'runs'))}")


def _completing(studies, scale):
    """The studies, or with --part what the tables of --results_dir lack of them."""
    from keras_dep.studies import result_files

    if FLAGS.part is None:
        return studies
    if FLAGS.results_dir is None:
        raise ValueError("part needs results_dir, the folder of the tables; add --results_dir.")
    # Refused before anything is trained.
    result_files.folder_of(FLAGS.results_dir, scale.name, FLAGS.part)
    known = result_files.of_scale(os.path.expanduser(FLAGS.results_dir), scale.name, FLAGS.part)
    return [
        study.completing(known[study.name].lines) if study.name in known else study
        for study in studies
    ]


def _engine():
    from keras_dep.experiments import engines

    if FLAGS.engine == "ray":
        return engines.Ray(FLAGS.cpus_per_run, FLAGS.gpus_per_run, FLAGS.retries)
    given = [name for name in ("cpus_per_run", "gpus_per_run", "retries") if FLAGS[name].present]
    if given:
        raise ValueError(f"{given[0]} is for --engine=ray; received it with --engine=local.")
    return engines.Local()


def _render(study, scale, out_dir, reasons, tables, figures):
    from keras_dep._internal import atomic_io
    from keras_dep._internal import environment
    from keras_dep.studies import cost
    from keras_dep.studies import lines
    from keras_dep.studies import result_files

    outcomes = study.outcomes(scale, out_dir, reasons)
    if study.name in tables:
        found = study.table(outcomes)
        text = lines.markdown(found, f"{study.title}, scale {scale.name}")
        part = "" if FLAGS.part is None else f" --results_dir=results --part={FLAGS.part}"
        facts = {
            "scale": scale.name,
            "command": f"python apps/reproduce.py --table={study.name} --scale={scale.name}{part}",
            "seconds": cost.spent(outcomes),
            "commits": result_files.commits(outcomes),
            **environment.environment(),
        }
        stem = os.path.join(out_dir, f"table-{study.name}")
        for ending, content in ((".md", text), (".csv", lines.to_csv(found))):
            with atomic_io.whole_file(stem + ending) as unfinished, open(unfinished, "w") as file:
                file.write(content)
        folders = [out_dir]
        # A table without holes gets no further part.
        if FLAGS.results_dir is not None and (FLAGS.part is None or outcomes):
            results_dir = os.path.expanduser(FLAGS.results_dir)
            folders.append(result_files.folder_of(results_dir, scale.name, FLAGS.part))
        for folder in folders:
            os.makedirs(folder, exist_ok=True)
            path = os.path.join(folder, result_files.name_of(study.name))
            result_files.write(path, study, found, facts)
        print(f"\n{text}", flush=True)
    for name in study.figures:
        if name in figures:
            drawn = study.figure(outcomes, name)
            for ending in (".png", ".svg"):
                path = os.path.join(out_dir, f"figure-{name}{ending}")
                with atomic_io.whole_file(path) as unfinished:
                    drawn.savefig(unfinished, dpi=150)
            print(f"{os.path.join(out_dir, f'figure-{name}')}.png and .svg", flush=True)


def _names(flag, known):
    """What a flag lists, `all` being each that is known, in that order."""
    from apps import command

    given = command.entries(FLAGS, flag)
    if set(given) - {*known, "all"} or ("all" in given and len(given) > 1):
        raise ValueError(
            f"{flag} must be {', '.join(known)}, several of them with commas between, or all; "
            f"received {','.join(given)!r}."
        )
    return [each for each in known if each in given or "all" in given]


def _out_dir():
    from apps import command

    return command.folder("out_dir", FLAGS.out_dir) or os.path.join(
        "runs", "reproduce", FLAGS.scale
    )


def _say(line):
    print(f"{time.strftime('%H:%M:%S')} {line}", flush=True)


if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    from apps import command

    command.finish(launch, sys.argv)
