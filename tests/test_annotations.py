"""The public names carry the types of their parameters and results."""

import importlib
import inspect
import pathlib
import re

import pytest

import keras_dep

ROOT = pathlib.Path(keras_dep.__file__).parent
DOCS = ROOT.parent / "docs" / "api"
ROOMS = sorted(
    path.stem
    for path in ROOT.iterdir()
    if (path.suffix == ".py" or path.is_dir()) and path.stem[0] != "_"
)


def documented():
    """Full names of what the API reference lists."""
    for page in DOCS.glob("*.md"):
        yield from re.findall(r"^::: (keras_dep\.\S+)$", page.read_text(), re.M)


def exported():
    """Full names of what the public packages list in `__all__`."""
    for path in ROOT.rglob("__init__.py"):
        name = ".".join(path.parent.relative_to(ROOT.parent).parts)
        if "._" not in name:
            module = importlib.import_module(name)
            yield from (f"{name}.{entry}" for entry in getattr(module, "__all__", ()))


def resolved(name):
    """The object of a full name such as `keras_dep.curvature.alignment.measure`."""
    module, rest = name, []
    while True:
        try:
            found = importlib.import_module(module)
            break
        except ModuleNotFoundError:
            module, _, attribute = module.rpartition(".")
            rest.insert(0, attribute)
    for attribute in rest:
        found = getattr(found, attribute)
    return found


def functions(thing):
    """The functions of a public object: itself, or the public methods its classes here define."""
    if inspect.isfunction(thing):
        yield thing
    elif inspect.isclass(thing):
        for kind in thing.__mro__:
            for name, member in vars(kind).items() if is_ours(kind) else ():
                if isinstance(member, property):
                    member = member.fget
                elif isinstance(member, (classmethod, staticmethod)):
                    member = member.__func__
                is_public = name in ("__init__", "__call__") or name[0] != "_"
                if is_public and inspect.isfunction(inspect.unwrap(member)):
                    yield inspect.unwrap(member)


def is_ours(thing):
    return str(thing.__module__).partition(".")[0] == "keras_dep"


def gaps(function):
    """The parameters without a type, and `return`."""
    # Python writes the methods of dataclasses.
    if not is_ours(function) or function.__code__.co_filename == "<string>":
        return
    parameters = list(inspect.signature(function).parameters.values())
    typed = {"self", "cls", *function.__annotations__}
    missing = [parameter.name for parameter in parameters if parameter.name not in typed]
    if "return" not in function.__annotations__:
        missing.append("return")
    for name in missing:
        yield f"{function.__module__}.{function.__qualname__}: {name}"


def room(line):
    return line.split(".")[1].partition(":")[0]


@pytest.fixture(scope="module")
def missing():
    things = (resolved(name) for name in {*documented(), *exported()})
    found = {gap for thing in things for function in functions(thing) for gap in gaps(function)}
    return sorted(found)


@pytest.mark.parametrize("name", ROOMS)
def test_public_names_are_annotated(missing, name):
    found = [line for line in missing if room(line) == name]
    assert not found, "\n".join(found)
