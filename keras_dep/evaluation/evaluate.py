"""Suites of attacks on one model: per attack, and the worst case per image as the headline."""

import time

import keras
import numpy as np

from keras_dep._internal import records
from keras_dep._internal import validation
from keras_dep.attacks.randomness import is_random
from keras_dep.evaluation import accuracy
from keras_dep.evaluation import coverage
from keras_dep.evaluation import metadata
from keras_dep.evaluation import saved
from keras_dep.evaluation import suites
from keras_dep.evaluation.obfuscation.health import gradient_health
from keras_dep.layers.overrides import spiking_layers
from keras_dep.models import inference

SAMPLES_OF_RANDOM_MODELS = 10


def evaluate(
    model,
    images,
    labels,
    suite="quick",
    *,
    norm="Linf",
    epsilon=None,
    seed=0,
    substitutes=(),
    early_exit=None,
    batch_size=128,
    file=None,
    facts=None,
    verbose=1,
    **derivative,
):
    """Runs the attacks of a suite and counts the images that withstand all of them.

    Images that the model gets wrong as they are count as errors and are not attacked. With
    `early_exit` an attack sees only images that every attack before it left standing: the worst
    case is the same and comes much sooner, but only an attack that saw every image has an accuracy
    of its own. Noise that no ball holds is reported and does not count. An answer that is not
    finite is an error, and is counted by itself too.

    The reliable suite derives spikes by other rules than the model's own. It knows those of layers
    derived from `keras_dep.LIF`; where others may fire, in a wrapped or a custom layer, the result
    says which attacks that leaves out and why, and is not called reliable.

    Args:
        model: a built `keras.Model` from images in [0, 1] to logits.
        images: array `(n, ...)` in [0, 1].
        labels: whole numbers `(n,)` or `(n, 1)`, or one-hot rows `(n, classes)`.
        suite: `"quick"`, `"paper"` or `"reliable"`, see `suites.build`; or a dictionary from names
            to attacks.
        norm: ball of a named suite, `"Linf"` or `"L2"`.
        epsilon: its radius, see `keras_dep.attacks.threat.Threat`; default: 8/255, for `"L2"` 0.5.
        seed: seed of the attacks of a named suite.
        substitutes: models to transfer from, in the reliable suite.
        early_exit: drop broken images; default: in the reliable suite only.
        batch_size: images at a time; it does not change the result beyond rounding.
        file: where the result goes, as JSON. Written after every batch; a file that a stopped run
            of the same evaluation left is gone on with, and a finished one is returned.
        facts: further protocol variables to record, a dictionary of plain values.
        verbose: 0 for silence, 1 for a bar per attack, 2 for a line per attack.
        **derivative: `estimator`, `surrogate`, `width` of a named suite's white-box attacks, see
            `suites.build`.

    Returns:
        Dictionary, as in the file: `protocol`, `clean`, `worst_case`, `attacks` (a list of rows),
        `gradients` (see `gradient_health`) and `broken_by`, per image the attack that broke it
        first, `"clean"`, or `None`; `left_out`, a list of `attacks` and the `reason`, and
        `reliable`, whether the reliable suite was made in full. `clean` and each row have
        `non_finite_answers`, images answered with something that is not finite.

    Raises:
        ValueError: images that are none, not finite or outside [0, 1], labels that do not fit them
            or the model's classes, a model without logits, an unknown suite, a targeted attack,
            what `suites.build` refuses, or a file of another evaluation.

    Example:

    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    >>> x, y = np.full((6, 4), 0.5, "float32"), np.zeros(6, "int32")
    >>> found = evaluate(model, x, y, suite="paper", verbose=0)
    >>> found["worst_case"]["accuracy"] <= found["attacks"][0]["accuracy"]
    True
    """
    seed = validation.checked_seed(seed)
    images, labels = accuracy.check_data(model, images, labels, batch_size)
    early_exit = suite == "reliable" if early_exit is None else early_exit
    attacks, named, left_out = suite, isinstance(suite, str), []
    if named:
        attacks = suites.build(
            suite,
            norm=norm,
            epsilon=epsilon,
            seed=seed,
            classes=inference.class_count(model, images[:1]),
            spiking=bool(spiking_layers(model)),
            estimators=not coverage.layers_without_estimator(model),
            samples=SAMPLES_OF_RANDOM_MODELS if is_random(model, images[:1]) else 1,
            substitutes=substitutes,
            **derivative,
        )
        left_out = suites.left_out(suite, model)
    elif derivative:
        raise ValueError(
            f"{', '.join(derivative)} is for a named suite; received one of attacks; set it there."
        )
    for name, attack in attacks.items():
        if getattr(attack, "targeted", False):
            raise ValueError(f"attack {name!r} is targeted; an evaluation takes untargeted ones.")
    before, finite = accuracy.judged(model, images, labels, batch_size)
    record = {
        "protocol": {
            **metadata.describe(model),
            **metadata.surroundings(),
            "suite": suite if named else "custom",
            **(_threat(norm, epsilon, derivative) if named else {}),
            "substitutes": [metadata.fingerprint(*each.get_weights()) for each in _used(attacks)],
            "attacks": {name: _config(attack) for name, attack in attacks.items()},
            "perturbation": "of every frame by itself" if images.ndim == 5 else "of the image",
            "early_exit": early_exit,
            "images": len(images),
            "data": metadata.fingerprint(images, labels),
            "weights": metadata.fingerprint(*model.get_weights()),
            **(facts or {}),
        },
        "finished": False,
        "reliable": suite == "reliable" and not left_out,
        "left_out": left_out,
        "clean": {
            **accuracy.proportion(int(before.sum()), len(images)),
            "non_finite_answers": int((~finite).sum()),
        },
        "broken_by": [None if each else "clean" for each in before],
        "attacks": [],
    }
    record = saved.evaluation(file, record["protocol"]) or record
    if verbose:
        for each in left_out:
            print(f"left out {', '.join(each['attacks'])}: {each['reason']}", flush=True)
    if not record["finished"]:
        run = _Run(model, images, labels, record, batch_size, file, verbose)
        for name, attack in attacks.items():
            run.attack(name, attack)
        run.finish()
    return record


class _Run:
    """A record as it fills, attack by attack and batch by batch."""

    def __init__(self, model, images, labels, record, batch_size, file, verbose):
        self.model, self.images, self.labels = model, images, labels
        self.record, self.batch_size = record, batch_size
        self.file, self.verbose = file, verbose

    def attack(self, name, attack):
        rows = {row["attack"]: row for row in self.record["attacks"]}
        row = rows.get(name) or self._new_row(name, attack)
        if "accuracy" in row:
            return
        targets = np.array(row["targets"], "int64")
        remaining = targets[row["attacked"] :]
        bar = keras.utils.Progbar(max(len(targets), 1), verbose=self.verbose, unit_name="image")
        if self.verbose:
            print(name, flush=True)
        started = time.perf_counter()
        batches = accuracy.under_attack(
            self.model, attack, self.images[remaining], self.labels[remaining], self.batch_size
        )
        for still, finite, change in batches:
            chosen = targets[row["attacked"] : row["attacked"] + len(still)]
            row["broken"] += int((~still).sum())
            row["attacked"] += len(still)
            row["non_finite_answers"] += int((~finite).sum())
            row["largest_change"] = max(row["largest_change"], float(change.max()))
            row["seconds"] += time.perf_counter() - started
            started = time.perf_counter()
            for index in chosen[~still] if row["counts"] else ():
                self.record["broken_by"][index] = self.record["broken_by"][index] or name
            bar.update(row["attacked"], [("standing", float(still.mean()))])
            self._save()
        self._close(row)

    def finish(self):
        standing = sum(each is None for each in self.record["broken_by"])
        total = len(self.images)
        self.record["worst_case"] = accuracy.proportion(standing, total)
        self.record["gradients"] = gradient_health(
            self.model, self.images, self.labels, batch_size=self.batch_size
        )
        self.record["finished"] = True
        self._save()

    def _new_row(self, name, attack):
        broken_by, counts = self.record["broken_by"], _bounded(attack)
        skip = self.record["protocol"]["early_exit"] and counts
        targets = [
            index
            for index, by in enumerate(broken_by)
            if by is None or (by != "clean" and not skip)
        ]
        row = {
            "attack": name,
            "counts": counts,
            "targets": targets,
            "attacked": 0,
            "broken": 0,
            "non_finite_answers": 0,
            "largest_change": 0.0,
            "seconds": 0.0,
        }
        self.record["attacks"].append(row)
        return row

    def _close(self, row):
        right = self.record["clean"]["correct"]
        saw_all = len(row.pop("targets")) == right
        found = accuracy.proportion(right - row["broken"], len(self.images)) if saw_all else {}
        row["accuracy"], row["interval"] = found.get("accuracy"), found.get("interval")
        row["standing"] = sum(each is None for each in self.record["broken_by"])
        self._save()

    def _save(self):
        if self.file is not None:
            records.write(self.file, self.record)


def _threat(norm, epsilon, derivative):
    chosen = {name: value for name, value in derivative.items() if value is not None}
    return {
        "norm": norm,
        "epsilon": suites.radius(norm, epsilon),
        "derivative": ", ".join(f"{k} {v}" for k, v in chosen.items()) or "of the model",
    }


def _used(attacks):
    """The models that some of the attacks transfer from."""
    return [model for attack in attacks.values() for model in getattr(attack, "substitutes", ())]


def _config(attack):
    if hasattr(attack, "get_config"):
        return attack.get_config()
    return {"attack": getattr(attack, "__name__", type(attack).__name__)}


def _bounded(attack):
    return _config(attack).get("epsilon", 0) is not None
