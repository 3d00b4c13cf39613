"""Suites of attacks on one model: per attack, and the worst case per image as the headline."""

import json
import os
import time

import keras
import numpy as np

from keras_dep import durable
from keras_dep import provenance
from keras_dep.attacks.gradient import random_states_kept
from keras_dep.evaluation import measure
from keras_dep.evaluation import protocol
from keras_dep.evaluation import suites
from keras_dep.evaluation.health import gradient_health
from keras_dep.substitution import spiking_layers

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
    of its own. Noise that no ball holds is reported and does not count.

    Args:
        model: a built `keras.Model` from images in [0, 1] to logits.
        images: float array `(n, ...)` in [0, 1].
        labels: integer array `(n,)`.
        suite: `"quick"`, `"paper"` or `"reliable"`, see `suites.build`; or a dictionary from names
            to attacks.
        norm: ball of a named suite, `"Linf"` or `"L2"`.
        epsilon: its radius, see `keras_dep.threat.Threat`; default: 8/255, for `"L2"` 0.5.
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
        first, `"clean"`, or `None`.

    Raises:
        ValueError: data that do not fit, an unknown suite, a targeted attack, what `suites.build`
            refuses, or a file of another evaluation.

    Example:

    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    >>> x, y = np.full((6, 4), 0.5, "float32"), np.zeros(6, "int32")
    >>> found = evaluate(model, x, y, suite="paper", verbose=0)
    >>> found["worst_case"]["accuracy"] <= found["attacks"][0]["accuracy"]
    True
    """
    images, labels = measure.check_data(images, labels)
    early_exit = suite == "reliable" if early_exit is None else early_exit
    before = measure.right(model, images, labels, batch_size)
    attacks, named = suite, isinstance(suite, str)
    if named:
        attacks = suites.build(
            suite,
            norm=norm,
            epsilon=epsilon,
            seed=seed,
            classes=model.compute_output_shape(images[:1].shape)[-1],
            spiking=bool(spiking_layers(model)),
            samples=SAMPLES_OF_RANDOM_MODELS if is_random(model, images[:1]) else 1,
            substitutes=substitutes,
            **derivative,
        )
    elif derivative:
        raise ValueError(
            f"{', '.join(derivative)} is for a named suite; received one of attacks; set it there."
        )
    for name, attack in attacks.items():
        if getattr(attack, "targeted", False):
            raise ValueError(f"attack {name!r} is targeted; an evaluation takes untargeted ones.")
    record = {
        "protocol": {
            **protocol.describe(model),
            **protocol.surroundings(),
            "suite": suite if named else "custom",
            **(_threat(norm, epsilon, derivative) if named else {}),
            "substitutes": [protocol.fingerprint(*each.get_weights()) for each in _used(attacks)],
            "attacks": {name: _config(attack) for name, attack in attacks.items()},
            "perturbation": "of every frame by itself" if images.ndim == 5 else "of the image",
            "early_exit": early_exit,
            "images": len(images),
            "data": protocol.fingerprint(images, labels),
            "weights": protocol.fingerprint(*model.get_weights()),
            **(facts or {}),
        },
        "finished": False,
        "clean": measure.proportion(int(before.sum()), len(images)),
        "broken_by": [None if each else "clean" for each in before],
        "attacks": [],
    }
    record = _saved(file, record) or record
    if not record["finished"]:
        run = _Run(model, images, labels, record, batch_size, file, verbose)
        for name, attack in attacks.items():
            run.attack(name, attack)
        run.finish()
    return record


def is_random(model, images):
    """Whether a model answers differently when asked again."""
    with random_states_kept(model):
        answers = [keras.ops.convert_to_numpy(model.predict_on_batch(images)) for _ in range(2)]
    return not np.array_equal(*answers, equal_nan=True)


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
        batches = measure.under_attack(
            self.model, attack, self.images[remaining], self.labels[remaining], self.batch_size
        )
        for still, change in batches:
            chosen = targets[row["attacked"] : row["attacked"] + len(still)]
            row["broken"] += int((~still).sum())
            row["attacked"] += len(still)
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
        self.record["worst_case"] = measure.proportion(standing, total)
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
            "largest_change": 0.0,
            "seconds": 0.0,
        }
        self.record["attacks"].append(row)
        return row

    def _close(self, row):
        right = self.record["clean"]["correct"]
        saw_all = len(row.pop("targets")) == right
        found = measure.proportion(right - row["broken"], len(self.images)) if saw_all else {}
        row["accuracy"], row["interval"] = found.get("accuracy"), found.get("interval")
        row["standing"] = sum(each is None for each in self.record["broken_by"])
        self._save()

    def _save(self):
        if self.file is not None:
            with durable.whole_file(self.file) as unfinished, open(unfinished, "w") as file:
                json.dump(self.record, file, indent=1)


def _saved(file, wanted):
    """The record in a file, if there is one; refuses that of another evaluation."""
    if file is None or not os.path.exists(file):
        return None
    try:
        with open(file) as opened:
            record = json.load(opened)
        found = record["protocol"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{file} is not an evaluation; choose another file.") from error
    wanted = json.loads(json.dumps(wanted["protocol"]))
    provenance.refuse_other(file, "an evaluation", found, wanted, "choose another file")
    return record


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
