"""Lines of tables with made-up values, and facts of a result file."""

from typing import Any

from keras_dep.studies.lines import Line

FACTS: dict[str, Any] = {
    "scale": "cpu",
    "command": "python x",
    "seconds": 7200.0,
    "versions": {"keras": "3"},
    "device": "a machine",
    "commit": None,
    "commits": ["abc1234"],
}


def line(method, condition, quantity, *values, dataset="digits", network="vgg5"):
    """A line with a value for each of the first seeds."""
    return Line(
        dataset=dataset,
        network=network,
        method=method,
        condition=condition,
        quantity=quantity,
        protocol="a protocol",
        seeds=tuple(range(len(values))),
        values=values,
    )
