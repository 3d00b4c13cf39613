"""The result of an evaluation on one page, as Markdown and as a picture."""

import os
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

from keras_dep._internal import atomic_io
from keras_dep._internal.types import Record
from keras_dep.evaluation import accuracy
from keras_dep.evaluation import card_picture
from keras_dep.evaluation import report

# What most publications report, in the order of the suites.
USUAL = {"fgsm": "FGSM", "pgd-7": "PGD-7"}
# Attacks of a custom suite that have a bar of their own.
MOST_BARS = 6
VERDICTS = {True: "passed", False: "failed", None: "not applicable"}
# Facts of the apps.
FILES = ("model_file", "weights_file")
BALLS = {"Linf": "L-infinity", "L2": "L2"}


def card(
    record: Record,
    points: Sequence[Record] = (),
    checks: Iterable[Record] = (),
    *,
    title: str | None = None,
    reported: Mapping[str, Record] | None = None,
    chance: float | None = None,
    folder: str | os.PathLike[str] | None = None,
) -> str:
    """Returns a result card, and writes it as `card.md` and `card.png`.

    One page for a review: the accuracy under all attacks with its interval, whether the suite was
    complete, that accuracy beside the usual attacks, the curve over radii, the attacks that broke
    most images, the checklist, and the protocol.

    Args:
        record: finished result of `keras_dep.evaluate`.
        points: result of `epsilon_sweep` on the same images, for the curve.
        checks: result of `checklist`.
        title: name of the model; default: the one in the protocol.
        reported: accuracies measured elsewhere, shown beside these: by name a dictionary of
            `accuracy` and its 95 % `interval`, such as a result of `robust_accuracy`.
        chance: accuracy of guessing, drawn as a line, or `None`.
        folder: existing folder that gets the two files; `None` writes nothing.

    Returns:
        The Markdown text.

    Raises:
        ValueError: an unfinished record, or points of a sweep over steps, in another norm, or on
            another number of images.

    Example:

    >>> import keras, numpy as np
    >>> from keras_dep import evaluate
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    >>> x, y = np.full((6, 4), 0.5, "float32"), np.zeros(6, "int32")
    >>> text = card(evaluate(model, x, y, suite="paper", verbose=0), title="Two logits")
    >>> text.splitlines()[0]
    '# Robustness of Two logits'
    """
    found = contents(record, points, checks, title=title, reported=reported, chance=chance)
    text = _markdown(found)
    if folder is not None:
        with (
            atomic_io.whole_file(os.path.join(folder, "card.md")) as unfinished,
            open(unfinished, "w", encoding="utf-8") as file,
        ):
            file.write(text)
        card_picture.draw(found, os.path.join(folder, "card.png"))
    return text


def contents(
    record: Record,
    points: Sequence[Record] = (),
    checks: Iterable[Record] = (),
    *,
    title: str | None = None,
    reported: Mapping[str, Record] | None = None,
    chance: float | None = None,
) -> Record:
    """Returns what a card shows; arguments and errors as of `card`.

    Returns:
        Dictionary of `title`, `headline` (accuracy, interval, correct, images), `ball` and
        `epsilon`, `attacks` (their number), `reliable`, `status` (in words), `left_out`, `bars`
        (each a `name`, `accuracy`, `interval` and `kind`), `strongest` (each an `attack`, `broken`
        and `attacked`, most first) and `remarks` on them, `early_exit`, `points`, `checks` (each a
        `number`, `name` and `verdict`) and their `count`, `protocol` (words by name) and `chance`.

    Raises:
        ValueError: as of `card`.
    """
    if not record["finished"]:
        raise ValueError(
            "record must be a finished evaluation; received one that was stopped; run evaluate "
            "again with its file."
        )
    norm, epsilon = _ball(record["protocol"])
    _check_points(points, norm, record["clean"]["images"])
    counted = [each for each in record["attacks"] if each["counts"]]
    strongest = sorted(
        ({name: each[name] for name in ("attack", "broken", "attacked")} for each in counted),
        key=lambda each: -each["broken"],
    )
    verdicts = [_verdict(each) for each in checks]
    return {
        "title": title or record["protocol"]["model"],
        "headline": record["worst_case"],
        "ball": _ball_in_words(norm, epsilon),
        "epsilon": epsilon,
        "attacks": len(counted),
        "reliable": record["reliable"],
        "status": _status(record),
        "left_out": record["left_out"],
        "bars": [*_bars(record, counted), *_reported(reported or {}), _worst(record)],
        "strongest": strongest,
        "remarks": _remarks(strongest),
        "early_exit": record["protocol"]["early_exit"],
        "points": list(points),
        "checks": verdicts,
        "count": _count(verdicts),
        "protocol": _protocol(record),
        "chance": chance,
    }


def _check_points(points: Sequence[Record], norm: str | None, images: int) -> None:
    if not points:
        return
    if "steps" in points[0]:
        raise ValueError(
            "points must be a sweep over radii; received one over steps; take epsilon_sweep."
        )
    received = points[0]["norm"], points[0]["images"]
    if received != (norm or received[0], images):
        raise ValueError(
            f"points must be of the evaluation's norm and images, {norm} and {images}; received "
            f"{received[0]} and {received[1]}; sweep with those."
        )


def _remarks(strongest: Sequence[Record]) -> list[str]:
    """Returns lines about the attacks that broke most images, most first."""
    if not strongest or not strongest[0]["broken"]:
        return ["No attack broke an image."]
    lines = [f"{_share(strongest[0])} broke most."]
    others = [each for each in strongest if each["attack"] not in USUAL and each["broken"]]
    if others and others[0] != strongest[0]:
        lines.append(f"Besides FGSM and PGD-7, {_share(others[0])} broke most.")
    return lines


def _count(checks: Sequence[Record]) -> str:
    """Returns how many checks have each verdict, in words."""
    verdicts = [each["verdict"] for each in checks]
    counts = {verdict: verdicts.count(verdict) for verdict in dict.fromkeys(verdicts)}
    return ", ".join(f"{number} {verdict}" for verdict, number in counts.items()) or "not run"


def _share(each: Record) -> str:
    return f"{each['attack']} ({each['broken']} of {each['attacked']} images attacked)"


def _ball(protocol: Record) -> tuple[str | None, float | None]:
    """Returns norm and radius, if all attacks that have a radius share them."""
    if "epsilon" in protocol:
        return protocol["norm"], protocol["epsilon"]
    balls = {
        (config.get("norm", "Linf"), config["epsilon"])
        for config in protocol["attacks"].values()
        if config.get("epsilon") is not None
    }
    return balls.pop() if len(balls) == 1 else (None, None)


def _ball_in_words(norm: str | None, epsilon: float | None) -> str:
    if norm is None or epsilon is None:
        return "radius of each attack as in its settings"
    radius = f"{255 * epsilon:.4g}/255" if norm == "Linf" else f"{epsilon:.4g}"
    return f"{BALLS[norm]} ball of radius {radius}"


def _status(record: Record) -> str:
    if record["left_out"]:
        reasons = "; ".join(each["reason"] for each in record["left_out"])
        count = sum(len(each["attacks"]) for each in record["left_out"])
        return f"Not called reliable: {count} attacks of the suite were left out, because {reasons}"
    if record["reliable"]:
        return "Reliable suite, complete: no attack was left out"
    suite = record["protocol"]["suite"]
    return f"Suite {suite!r}: an upper bound, which the reliable suite may lower"


def _bars(record: Record, counted: Sequence[Record]) -> list[Record]:
    """The accuracy without an attack, and those of the usual attacks or of a custom suite's."""
    bars = [{"name": "no attack", "kind": "clean", **_measured(record["clean"])}]
    usual = [each for each in counted if each["attack"] in USUAL]
    before = ""
    for each in usual or counted[:MOST_BARS]:
        name = USUAL.get(each["attack"], each["attack"])
        # After an early exit, an attack is known only together with those before it.
        together = accuracy.proportion(each["standing"], record["clean"]["images"])
        if each["accuracy"] is not None:
            bars.append({"name": name, "kind": "attack", **_measured(each)})
        elif usual:
            bars.append({"name": f"{before}{name}", "kind": "attack", **_measured(together)})
        before = f"{before}{name} + "
    return bars


def _reported(reported: Mapping[str, Record]) -> list[Record]:
    return [
        {"name": name, "kind": "reported", **_measured(each)} for name, each in reported.items()
    ]


def _worst(record: Record) -> Record:
    return {"name": "all attacks", "kind": "worst", **_measured(record["worst_case"])}


def _measured(result: Record) -> Record:
    return {"accuracy": result["accuracy"], "interval": list(result["interval"])}


def _verdict(result: Record) -> Record:
    left_out = result["passed"] is None and "left_out" in result["measured"]
    verdict = "left out" if left_out else VERDICTS[result["passed"]]
    return {"number": result["number"], "name": result["name"], "verdict": verdict}


def _protocol(record: Record) -> dict[str, str]:
    """Returns the protocol variables that a reader needs to repeat the measurement."""
    protocol, health = record["protocol"], record["gradients"]
    seeds = {str(config["seed"]) for config in protocol["attacks"].values() if "seed" in config}
    non_finite = sum(each["non_finite_answers"] for each in (record["clean"], *record["attacks"]))
    rows: dict[str, Any] = {
        "model": f"{protocol['model']}, {protocol['parameters']:,} parameters",
        "file": ", ".join(protocol[each] for each in FILES if each in protocol),
        "neurons": "; ".join(map(_neuron, protocol["neurons"])) or "none of this package's",
        "not understood": ", ".join(protocol.get("unknown_layers", ())),
        "data": protocol.get("dataset"),
        "images": f"{protocol['images']}, fingerprint {protocol['data']}",
        "weights": f"fingerprint {protocol['weights']}",
        "threat": _ball_in_words(*_ball(protocol)) + f", perturbation {protocol['perturbation']}",
        "suite": f"{protocol['suite']}, {'with' if protocol['early_exit'] else 'no'} early exit",
        "derivative": protocol.get("derivative"),
        "seed": ", ".join(sorted(seeds)),
        "substitutes": len(protocol["substitutes"]) or "none",
        "mode": protocol["mode"],
        "state": protocol["state"],
        "input gradient": f"{100 * health['zero_pixels']:.2f} % of its entries are zero",
        "answers": f"{non_finite} not finite, counted as errors" if non_finite else None,
        "software": f"keras {protocol['keras']} on {protocol['backend']}, "
        f"numpy {protocol['numpy']}, python {protocol['python']}",
    }
    return {name: str(value) for name, value in rows.items() if value}


def _neuron(kind: Record) -> str:
    """Describes a kind of neuron: its number of layers and its constants."""
    constants = ", ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in kind.items()
        if name not in ("neuron", "layers") and value not in (None, False)
    )
    return f"{kind['layers']} {kind['neuron']} ({constants})"


def _markdown(found: Record) -> str:
    headline = found["headline"]
    lines = [
        f"# Robustness of {found['title']}",
        "",
        f"**{report.percent(headline)}** of {headline['images']} images withstand all "
        f"{found['attacks']} attacks in the {found['ball']} "
        f"(95 % interval {report.interval(headline)}).",
        "",
        f"**{found['status']}.**",
        "",
    ]
    for each in found["left_out"]:
        lines += [f"Left out: {', '.join(each['attacks'])}.", ""]
    lines += ["| images that withstand | accuracy | 95 % interval |", "|---|---|---|"]
    for bar in found["bars"]:
        name = f"{bar['name']} (measured elsewhere)" if bar["kind"] == "reported" else bar["name"]
        name = f"**{name}**" if bar["kind"] == "worst" else name
        lines.append(f"| {name} | {report.percent(bar)} | {report.interval(bar)} |")
    lines += ["", " ".join(found["remarks"])]
    if found["points"]:
        lines += ["", report.sweep_markdown(found["points"]).rstrip("\n")]
    lines += ["", f"Checks for obfuscated gradients: {found['count']}.", ""]
    if found["checks"]:
        lines += ["| | symptom of obfuscation | verdict |", "|---|---|---|"]
        for each in found["checks"]:
            lines.append(f"| {each['number']} | {each['name']} | {each['verdict']} |")
        lines.append("")
    lines += ["| protocol | |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in found["protocol"].items()]
    return report.aligned("\n".join(lines) + "\n")
