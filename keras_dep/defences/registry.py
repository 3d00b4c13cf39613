"""Methods by name, with options and combinations: `"dep"`, `"sam(rho=0.1)"`, `"dep+feel"`."""

import ast
import dataclasses
import inspect
from collections.abc import Callable
from typing import Any

from keras_dep.defences.defence import Defence

_FACTORIES: dict[str, Callable[..., Defence]] = {}
_MEND = "write names joined by +, with options by keyword, as in dep+sam(rho=0.1)"


def register(factory: Callable[..., Defence]) -> Callable[..., Defence]:
    """Registers a function of keyword options as the method of its name.

    Args:
        factory: function `(**options) -> Defence`. Each option has a default; the first line of the
            docstring describes the method.

    Returns:
        `factory` itself, as a decorator does.

    Raises:
        ValueError: the name is taken.

    Example:

    >>> @register
    ... def slow(share=0.5):
    ...     "Lowers the learning rate."
    ...     return Defence(settings={"learning_rate": 0.1 * share})
    >>> get("slow(share=0.25)").settings
    {'learning_rate': 0.025}
    >>> del _FACTORIES["slow"]
    """
    name = factory.__name__
    if name in _FACTORIES:
        raise ValueError(f"method {name!r} is registered already; choose another name.")
    _FACTORIES[name] = factory
    return factory


def names() -> tuple[str, ...]:
    """Names of the registered methods, sorted.

    Example:

    >>> "dep" in names()
    True
    """
    return tuple(sorted(_FACTORIES))


def describe() -> str:
    """A line per method: its name, its options with their defaults, and what it does.

    Example:

    >>> [line.partition(":")[0] for line in describe().splitlines()][:2]
    ['clip(max_norm=1.0)', 'dep']
    """
    lines = []
    for name in names():
        options = ", ".join(f"{key}={value!r}" for key, value in _defaults(name).items())
        first = (inspect.getdoc(_FACTORIES[name]) or "").partition("\n")[0]
        lines.append(f"{name}{f'({options})' if options else ''}: {first}")
    return "\n".join(lines)


def get(expression: str) -> Defence:
    """The method that an expression names.

    Args:
        expression: a name, with options in parentheses where they are not the published ones, or
            several joined by `+`. Of `"a+b"` the gradient passes through the wrapper of `a` first.

    Returns:
        A `Defence`, named by the expression without options that are the default.

    Raises:
        ValueError: an unknown method or option, a value outside its limits, or methods that do not
            combine.

    Example:

    >>> get("sgd+dep").name
    'dep'
    """
    return _method(_parsed(expression))


def parse(expressions: str) -> list[Defence]:
    """The methods of a comma-separated list of expressions, in its order.

    Args:
        expressions: as for `get`, separated by commas.

    Returns:
        List of `Defence`.

    Raises:
        ValueError: as `get`, or a method named twice.

    Example:

    >>> [method.name for method in parse("sgd, dep")]
    ['sgd', 'dep']
    """
    node = _parsed(expressions)
    found = [_method(each) for each in (node.elts if isinstance(node, ast.Tuple) else [node])]
    seen = [method.name for method in found]
    if twice := sorted({name for name in seen if seen.count(name) > 1}):
        raise ValueError(f"methods must differ; received {twice[0]!r} twice; name it once.")
    return found


def _parsed(text: str) -> ast.expr:
    try:
        return ast.parse(text.strip(), mode="eval").body
    except SyntaxError as error:
        raise ValueError(f"methods must be names; received {text!r}; {_MEND}.") from error


def _method(node: ast.expr) -> Defence:
    match node:
        case ast.BinOp(left, ast.Add(), right):
            return _method(left) + _method(right)
        case ast.Name(name):
            return _made(name, {})
        case ast.Call(ast.Name(name), [], keywords):
            return _made(name, {str(each.arg): _value(each.value) for each in keywords})
    raise ValueError(f"methods must be names; received {ast.unparse(node)!r}; {_MEND}.")


def _value(node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except ValueError as error:
        raise ValueError(
            "options must be numbers, strings, tuples or None; received "
            f"{ast.unparse(node)!r}; {_MEND}."
        ) from error


def _made(name: str, options: dict[str, Any]) -> Defence:
    if name not in _FACTORIES:
        raise ValueError(f"methods must be some of {', '.join(names())}; received {name!r}.")
    defaults = _defaults(name)
    if unknown := sorted(set(options) - set(defaults)):
        known = f"the options {', '.join(defaults)}" if defaults else "no options"
        raise ValueError(f"method {name} has {known}; received {unknown[0]!r}; leave it out.")
    given = {
        key: options[key] for key in defaults if options.get(key, defaults[key]) != defaults[key]
    }
    shown = ", ".join(f"{key}={value!r}" for key, value in given.items())
    return dataclasses.replace(
        _FACTORIES[name](**given), name=f"{name}({shown})" if shown else name
    )


def _defaults(name: str) -> dict[str, Any]:
    parameters = inspect.signature(_FACTORIES[name]).parameters
    return {option: each.default for option, each in parameters.items()}
