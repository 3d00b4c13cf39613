"""The house rules that syntax trees can show."""

import ast
import pathlib
import re

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
# The one file that names private attributes and modules of libraries; it imports them lazily.
INTERNALS = ROOT / "_internal" / "keras_internals.py"
PRIVATE = {
    *("_accumulated_gradients", "_flatten_layers", "_get_variable_index", "_inbound_nodes"),
    *(
        "_iterations",
        "_keras_history",
        "_model_variables_moving_average",
        "_non_trainable_variables",
    ),
    *("_output_shape", "_trainable_variables", "_use_weight_decay", "_var_key", "_variables"),
    *("_compile_config", "_eval_epoch_iterator", "_has_explicit_input_shape", "_input_shape_arg"),
    *("_jax_state", "_jax_state_synced", "_are_functorch_transforms_active", "__internal__", "_C"),
    *("BIT64_TO_BIT32_DTYPE", "current_call_ctx", "stateless_scope"),
}
PRIVATE_MODULES = re.compile(
    r"keras\.src|(torch|jax|tensorflow|tf|tensorboard)(\.\w+)*\._[a-zA-Z]"
    r"|tensorflow\.(python|compiler|core)|tensorboard\.(compat|plugins|summary\.writer|util)"
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


def identifiers(tree):
    """Names, attributes, arguments of `getattr` and other strings, and modules imported."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            yield node.attr
            yield ast.unparse(node)
        elif isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.FunctionDef):
            yield node.name
    yield from imported(tree)


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
    if here not in ("_backend", "data"):
        assert "backend.backend()" not in text.replace('"backend": keras.backend.backend()', "")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_private_doors_stand_in_one_file(path):
    tree = ast.parse(path.read_text())
    found = {name for name in identifiers(tree) if name in PRIVATE or PRIVATE_MODULES.match(name)}
    if path == INTERNALS:
        assert not {name for name in PRIVATE if name not in path.read_text()}
        # Frameworks are imported in the functions that need them.
        first = ast.Module(
            [node for node in tree.body if not isinstance(node, ast.FunctionDef)], []
        )
        assert not {name.partition(".")[0] for name in imported(first)} & {*HOMES}
    else:
        assert not found, f"{sorted(found)} belong into _internal/keras_internals.py"


def test_public_names_are_documented():
    for name in keras_dep.__all__:
        if not name.startswith("_"):
            assert getattr(keras_dep, name).__doc__, name
