"""Suites of attacks on one model: accuracy under each attack, and the worst case per image."""

import os
import time
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence

import keras
import numpy as np

from keras_dep import distribution
from keras_dep._internal import validation
from keras_dep._internal.types import ArrayLike
from keras_dep._internal.types import Record
from keras_dep.attacks.base import Attack
from keras_dep.attacks.gradient_estimators import Estimator
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
    model: keras.Model,
    images: ArrayLike,
    labels: ArrayLike,
    suite: str | Mapping[str, Callable] = "quick",
    *,
    norm: str = "Linf",
    epsilon: float | None = None,
    seed: int | Sequence[int] = 0,
    estimator: str | Estimator | None = None,
    surrogate: str | None = None,
    width: float | None = None,
    substitutes: Sequence[keras.Model] = (),
    early_exit: bool | None = None,
    batch_size: int = 128,
    file: str | os.PathLike[str] | None = None,
    facts: Record | None = None,
    verbose: int = 1,
) -> Record:
    """Runs the attacks of a suite and counts the images that withstand all of them.

    Images that the model gets wrong without an attack count as errors and are not attacked, so an
    attack never turns an error into a right answer. With `early_exit` an attack sees only images
    that withstood every attack before it: the worst case is the same and comes much sooner, but
    only an attack that saw every right image has an accuracy of its own. Noise without a bound is
    reported and does not count. A non-finite answer is an error, and is also counted by itself.

    The reliable suite derives spikes by other rules than the model's own. It knows the spikes of
    layers derived from `keras_dep.LIF`. Where a wrapped or custom layer, an activation or an
    operation may fire, result, table and output say which attacks were left out and why, and the
    worst case is not called reliable. A network made of Keras' own layers and smooth or ReLU
    activations has no spikes, so nothing is left out; see `coverage.unknown_layers`.

    Args:
        model: a built `keras.Model` from images in [0, 1] to logits.
        images: array `(n, ...)` in [0, 1].
        labels: whole numbers `(n,)` or `(n, 1)`, or one-hot rows `(n, classes)`.
        suite: `"quick"`, `"paper"`, `"reliable"` or `"timing"`, see `suites.build`; or a dictionary
            from names to attacks, each a `keras_dep.attacks.Attack` or any function
            `attack(model, x, y) -> x_adv`.
        norm: ball of a named suite, `"Linf"` or `"L2"`.
        epsilon: its radius, see `keras_dep.attacks.threat.Threat`; default: 8/255, for `"L2"` 0.5.
        seed: seed of the attacks of a named suite.
        estimator: gradient estimator that the white-box attacks of `quick` and `paper` look
            through, see `suites.build`; default: the model's own derivatives.
        surrogate: in its place a surrogate derivative, one of `keras_dep.surrogates.names()`.
        width: width of the surrogate; default: its usual one.
        substitutes: models to transfer from, in the reliable suite.
        early_exit: attack only what still stands; default: in the reliable suite only.
        batch_size: images at a time; it does not change the result beyond rounding.
        file: JSON file of the result, written after every batch. An unfinished file of the same
            evaluation is resumed, and a finished one is returned.
        facts: further protocol variables to record, a dictionary of plain values by other names
            than those of the protocol, such as `model_file`.
        verbose: 0 for silence, 1 for a bar per attack, 2 for a line per attack.

    Returns:
        Dictionary, as in the file: `protocol`, `clean`, `worst_case`, `attacks` (a dictionary of
        numbers per attack, in a list), `gradients` (see `gradient_health`), and `broken_by`, for
        each image the attack that broke it first, `"clean"`, or `None`; `left_out`, a list of
        `attacks` and the `reason`, and `reliable`, whether the whole reliable suite was run.
        `clean` and each attack have `non_finite_answers`, the number of images with a non-finite
        answer. `summary` drops the entries per image.

    Raises:
        ValueError: no images, images that are not finite or outside [0, 1], labels that do not fit
            them or the model's classes, a model without logits, or with probabilities in their
            place, an unknown suite, a targeted attack, facts named as parts of the protocol, a file
            of another evaluation, or arguments that `suites.build` refuses.

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
    chosen = suites.derivative(estimator, surrogate, width)
    left_out: list[Record] = []
    if isinstance(suite, str):
        attacks: Mapping[str, Callable] = suites.build(
            suite,
            norm=norm,
            epsilon=epsilon,
            seed=seed,
            classes=inference.class_count(model, images[:1]),
            spiking=bool(spiking_layers(model)),
            estimators=not coverage.layers_without_estimator(model),
            samples=SAMPLES_OF_RANDOM_MODELS if is_random(model, images[:1]) else 1,
            substitutes=substitutes,
            **chosen,
        )
        left_out = suites.left_out(suite, model)
    elif chosen:
        raise ValueError(
            f"{', '.join(chosen)} is for a named suite; received a dictionary of attacks; set it "
            "in each of them."
        )
    else:
        attacks = suite
    for name, attack in attacks.items():
        if isinstance(attack, Attack) and attack.targeted:
            raise ValueError(f"attack {name!r} is targeted; an evaluation takes untargeted ones.")
    before, finite = accuracy.clean(model, images, labels, batch_size)
    record: Record = {
        "protocol": {
            **metadata.describe(model),
            **metadata.surroundings(),
            "suite": suite if isinstance(suite, str) else "custom",
            **(_threat(suite, norm, epsilon, chosen) if isinstance(suite, str) else {}),
            "substitutes": [metadata.of_weights(each) for each in _used(attacks)],
            "attacks": {name: _config(attack) for name, attack in attacks.items()},
            "perturbation": _perturbation(suite, images),
            "early_exit": early_exit,
            "images": len(images),
            "data": metadata.fingerprint(images, labels),
            "weights": metadata.of_weights(model),
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
    record["protocol"] = metadata.with_facts(record["protocol"], facts)
    kept = saved.evaluation(file)
    # The chief reads the file, for all workers.
    record = distribution.workers().of_chief(kept.read(record["protocol"])) or record
    if verbose:
        for each in left_out:
            names = ", ".join(each["attacks"])
            print(f"not called reliable, left out {names}: {each['reason']}", flush=True)
    if not record["finished"]:
        run = _Run(model, images, labels, record, batch_size, kept, verbose)
        for name, attack in attacks.items():
            run.attack(name, attack)
        run.finish()
    return record


class _Run:
    """Fills a record, attack by attack and batch by batch."""

    def __init__(self, model, images, labels, record, batch_size, kept, verbose):
        self.model, self.images, self.labels = model, images, labels
        self.record, self.batch_size = record, batch_size
        self.kept, self.verbose = kept, verbose

    def attack(self, name: str, attack: Callable) -> None:
        """Makes an attack on the images it has not seen yet."""
        known = {each["attack"]: each for each in self.record["attacks"]}
        found = known.get(name) or self._new_entry(name, attack)
        if "accuracy" in found:
            return
        targets = np.array(found["targets"], "int64")
        remaining = targets[found["attacked"] :]
        bar = keras.utils.Progbar(max(len(targets), 1), verbose=self.verbose, unit_name="image")
        if self.verbose:
            print(name, flush=True)
        started = time.perf_counter()
        batches = accuracy.under_attack(
            self.model, attack, self.images[remaining], self.labels[remaining], self.batch_size
        )
        for still, finite, change in batches:
            chosen = targets[found["attacked"] : found["attacked"] + len(still)]
            found["broken"] += int((~still).sum())
            found["attacked"] += len(still)
            found["non_finite_answers"] += int((~finite).sum())
            found["largest_change"] = max(found["largest_change"], float(change.max()))
            found["seconds"] += time.perf_counter() - started
            started = time.perf_counter()
            for index in chosen[~still] if found["counts"] else ():
                self.record["broken_by"][index] = self.record["broken_by"][index] or name
            bar.update(found["attacked"], [("standing", float(still.mean()))])
            self.kept.write(self.record)
        self._close(found)

    def finish(self) -> None:
        """Adds the results that depend on all attacks."""
        standing = sum(each is None for each in self.record["broken_by"])
        total = len(self.images)
        self.record["worst_case"] = accuracy.proportion(standing, total)
        self.record["gradients"] = gradient_health(
            self.model, self.images, self.labels, batch_size=self.batch_size
        )
        self.record["finished"] = True
        self.kept.write(self.record)

    def _new_entry(self, name, attack):
        broken_by, counts = self.record["broken_by"], _bounded(attack)
        skip = self.record["protocol"]["early_exit"] and counts
        targets = [
            index
            for index, by in enumerate(broken_by)
            if by is None or (by != "clean" and not skip)
        ]
        found = {
            "attack": name,
            "counts": counts,
            "targets": targets,
            "attacked": 0,
            "broken": 0,
            "non_finite_answers": 0,
            "largest_change": 0.0,
            "seconds": 0.0,
        }
        self.record["attacks"].append(found)
        return found

    def _close(self, found):
        right = self.record["clean"]["correct"]
        saw_all = len(found.pop("targets")) == right
        share = accuracy.proportion(right - found["broken"], len(self.images)) if saw_all else {}
        found["accuracy"], found["interval"] = share.get("accuracy"), share.get("interval")
        found["standing"] = sum(each is None for each in self.record["broken_by"])
        self.kept.write(self.record)


def _threat(suite, norm, epsilon, chosen):
    ball = {"norm": norm, "epsilon": suites.radius(norm, epsilon)}
    return {
        **({} if suite == suites.TIMING else ball),
        "derivative": ", ".join(f"{k} {v}" for k, v in chosen.items()) or "of the model",
    }


def _perturbation(suite, images):
    if suite == suites.TIMING:
        return "of the time of events alone"
    return "of every frame by itself" if images.ndim == 5 else "of the image"


def _used(attacks):
    """Returns the models that some of the attacks transfer from."""
    return [model for attack in attacks.values() for model in accuracy.substitutes_of(attack)]


def _config(attack):
    if isinstance(attack, Attack):
        return attack.get_config()
    # Any function of (model, x, y) may be evaluated too.
    return {"attack": getattr(attack, "__name__", type(attack).__name__)}


def _bounded(attack):
    return _config(attack).get("epsilon", 0) is not None
