"""The house rules that syntax trees can show."""

import ast
import pathlib

import pytest

import keras_dep

ROOT = pathlib.Path(keras_dep.__file__).parent
FLOORS = {
    0: (
        "_export",
        "_backend",
        "_internal",
        "_version",
        "durable",
        "prepared",
        "provenance",
        "quiet",
    ),
    1: (
        "deflation",
        "surrogates",
        "losses",
        "threat",
        "poison",
        "augmentation",
        "timewise",
        "precision",
        "records",
        "stored",
    ),
    2: (
        "encoders",
        "optimizers",
        "spectrum",
        "summaries",
        "inference",
        "activity",
        "substitution",
        "stateless",
    ),
    3: (
        "neurons",
        "normalization",
        "attacks",
        "batches",
        "curvature",
        "datasets",
        "alignment",
    ),
    4: ("framewise", "models", "callbacks", "hetero", "evaluation"),
    5: ("settings", "nir"),
    6: ("results",),
    7: ("experiment",),
    8: ("curvature_study", "substitutes"),
}
FLOOR = {room: floor for floor, rooms in FLOORS.items() for room in rooms}
HOMES = {
    "torch": ("_backend",),
    "jax": ("_backend",),
    "tensorflow": ("_backend", "datasets"),
    "tensorflow_datasets": ("datasets",),
    "tensorboard": ("summaries",),
    "nir": ("nir",),
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
    if here not in ("_backend", "datasets"):
        assert "backend.backend()" not in text.replace('"backend": keras.backend.backend()', "")


def test_public_names_are_documented():
    for name in keras_dep.__all__:
        if not name.startswith("_"):
            assert getattr(keras_dep, name).__doc__, name
