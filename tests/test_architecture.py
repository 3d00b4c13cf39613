"""The house rules that syntax trees can show."""

import ast
import pathlib

import pytest

import keras_dep

ROOT = pathlib.Path(keras_dep.__file__).parent
FLOORS = {
    0: ("_version", "_internal"),
    1: ("_backend",),
    2: ("surrogates", "deflation", "losses"),
    3: ("layers", "optimizers"),
    4: ("curvature", "data", "models", "summaries"),
    5: ("attacks", "profiling"),
    6: ("training", "evaluation", "interop"),
    7: ("callbacks",),
    8: ("experiments",),
    9: ("studies",),
}
FLOOR = {room: floor for floor, rooms in FLOORS.items() for room in rooms}
HOMES = {
    "torch": ("_backend",),
    "jax": ("_backend",),
    "tensorflow": ("_backend", "data"),
    "tensorflow_datasets": ("data",),
    "tensorboard": ("summaries",),
    "nir": ("interop",),
    "absl": (),
}
FILES = sorted(path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")


def room(path):
    return path.relative_to(ROOT).with_suffix("").parts[0]


def imported(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_file(path):
    text = path.read_text()
    tree, here = ast.parse(text), room(path)
    for name in imported(tree):
        first, *rest = name.split(".")
        if first == "keras_dep" and rest[0] != here:
            assert FLOOR[rest[0]] < FLOOR[here], f"{here} imports {name} from no lower floor"
        if first in HOMES:
            assert here in HOMES[first], f"{name} belongs to {HOMES[first]}"
    assert not any(isinstance(node, ast.Assert) for node in ast.walk(tree))
    assert ast.get_docstring(tree)
    assert len(text.splitlines()) <= 400
    if here not in ("_backend", "data"):
        assert "backend.backend()" not in text.replace('"backend": keras.backend.backend()', "")


def test_public_names_are_documented():
    for name in keras_dep.__all__:
        if not name.startswith("_"):
            assert getattr(keras_dep, name).__doc__, name
