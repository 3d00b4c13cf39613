"""The house rules that syntax trees can show."""

import ast
import functools
import pathlib
import re

import pytest

import keras_dep

ROOT = pathlib.Path(keras_dep.__file__).parent
FLOORS = {
    -1: ("_version",),
    0: ("_internal",),
    1: ("_backend",),
    2: ("surrogates", "deflation", "losses", "distribution"),
    3: ("layers", "optimizers"),
    4: ("curvature", "data", "models", "summaries"),
    5: ("attacks", "profiling"),
    6: ("training", "evaluation", "interop"),
    7: ("callbacks",),
    8: ("defences",),
    9: ("experiments",),
    10: ("studies",),
}
FLOOR = {room: floor for floor, rooms in FLOORS.items() for room in rooms}
HOMES = {
    # `interop.torch_networks` wraps modules of torch; its files are imported by `from_torch` alone.
    "torch": ("_backend", "interop"),
    "jax": ("_backend",),
    "tensorflow": ("_backend", "data"),
    "tensorflow_datasets": ("data",),
    "tensorboard": (),
    "tensorboardX": ("summaries",),
    "nir": ("interop",),
    "ray": ("experiments",),
    "grain": ("data",),
    # Grain's worker processes need parsed flags.
    "absl": ("data",),
}
# The one file that names what is private in libraries; it imports frameworks lazily.
INTERNALS = ROOT / "_internal" / "keras_internals.py"
PRIVATE_MODULES = re.compile(
    r"keras\.src|(torch|jax|tensorflow|tf|tensorboardX)(\.\w+)*\._[a-zA-Z]"
    r"|tensorflow\.(python|compiler|core)"
)
FILES = sorted(path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")


def room(path):
    return path.relative_to(ROOT).with_suffix("").parts[0]


def imported(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def attributes(tree):
    return {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}


def words(tree):
    """What strings are made of: `getattr` takes names from there."""
    constants = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    return {word for text in constants if isinstance(text, str) for word in text.split()}


def private(names):
    return {name for name in names if re.fullmatch(r"_[a-zA-Z]\w*|__internal__", name)}


def modules(tree):
    """Modules and attributes of modules, as imported or written out."""
    yield from imported(tree)
    yield from (ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute))


@functools.cache
def defined():
    """Private names that the package itself defines."""
    names = {"_asdict", "_fields", "_replace", "_getframe"}  # Python's own, and documented.
    for path in FILES:
        if path != INTERNALS:
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                    names.add(node.name)
                elif isinstance(node, ast.Name):
                    names.add(node.id)
                elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                    names.add(node.attr)
                elif isinstance(node, ast.ImportFrom):
                    names.update(alias.name for alias in node.names)
    return names


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_file(path):
    text = path.read_text()
    tree, here = ast.parse(text), room(path)
    for name in imported(tree):
        first, *rest = name.split(".")
        if first == "keras_dep" and rest[0] != here:
            assert FLOOR[rest[0]] < FLOOR[here], f"{here} imports {name} from no lower floor"
        if first in HOMES and path != INTERNALS:
            assert here in HOMES[first], f"{name} belongs to {HOMES[first]}"
    assert not any(isinstance(node, ast.Assert) for node in ast.walk(tree))
    assert ast.get_docstring(tree)
    assert len(text.splitlines()) <= 400
    # A record of the environment names the framework.
    if here not in ("_backend", "data") and path.name != "environment.py":
        assert "backend.backend()" not in text.replace('"backend": keras.backend.backend()', "")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_private_doors_stand_in_one_file(path):
    tree = ast.parse(path.read_text())
    if path == INTERNALS:
        # Frameworks are imported in the functions that need them.
        for node in tree.body:
            if not isinstance(node, ast.FunctionDef):
                assert not {name.partition(".")[0] for name in imported(node)} & HOMES.keys()
        return
    internals = ast.parse(INTERNALS.read_text())
    doors = private(attributes(internals) | words(internals))
    found = {
        *(doors & (attributes(tree) | words(tree))),
        *(private(attributes(tree)) - defined()),
        *filter(PRIVATE_MODULES.match, modules(tree)),
    }
    assert not found, f"{sorted(found)} belong in _internal/keras_internals.py"


def test_public_names_are_documented():
    for name in keras_dep.__all__:
        if not name.startswith("_"):
            assert getattr(keras_dep, name).__doc__, name
