"""The interface of the backends: what its description names, and three frameworks alone."""

import ast
import inspect
import os
import pathlib
import re
import subprocess
import sys

from keras_dep import _backend

# The list's entries begin with the names that they describe.
ENTRIES = re.findall(r"^- .*?(?=^- |\Z)", _backend.__doc__, re.MULTILINE | re.DOTALL)
DESCRIBED = {re.match(r"- `(\w+)", entry)[1] for entry in ENTRIES} | {"combination"}


def test_the_description_names_all_that_there_is():
    exported = {
        name
        for name, value in vars(_backend).items()
        if not name.startswith("_") and not inspect.ismodule(value)
    }
    assert exported == DESCRIBED and "`combination(weights, basis)`" in _backend.__doc__


def test_every_function_takes_the_arguments_of_its_description():
    for name, arguments in re.findall(r"^- `(\w+)\(([^)]*)\)", _backend.__doc__, re.MULTILINE):
        expected = [each.partition("=")[0].strip() for each in arguments.split(",") if each]
        assert list(inspect.signature(getattr(_backend, name)).parameters) == expected, name


def signatures(file):
    """Annotated parameters and result of each interface function that a file defines."""
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.FunctionDef) and node.name in DESCRIBED:
            result = node.returns and ast.unparse(node.returns)
            yield node.name, (ast.unparse(node.args), result)


def test_every_function_is_annotated_alike_in_all_frameworks():
    found = {}
    for file in pathlib.Path(_backend.__file__).parent.glob("*.py"):
        if file.stem.partition("_")[0] in ("generic", "workers", "torch", "tensorflow", "jax"):
            for name, signature in signatures(file):
                found.setdefault(name, set()).add(signature)
    assert set(found) == DESCRIBED - {"ENGINES", "TrainingPass", "TransformedStep"}
    assert [name for name, each in found.items() if len(each) > 1] == []
    for name in found:
        parameters = inspect.signature(getattr(_backend, name)).parameters
        assert {"return", *parameters} == set(inspect.get_annotations(getattr(_backend, name))), (
            name
        )


def test_a_fourth_backend_is_refused_in_one_line():
    # Keras itself computes with NumPy too.
    code, environment = "import keras_dep", {**os.environ, "KERAS_BACKEND": "numpy"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "ImportError: keras_dep needs torch, tensorflow or jax as Keras' backend; received "
        "'numpy'; set KERAS_BACKEND to one of the three."
    )
