"""Every example in a docstring gives what it says, on every backend."""

import doctest
import importlib
import pathlib
import re

import keras
import pytest

import keras_dep

ROOT = pathlib.Path(keras_dep.__file__).parent
MODULES = [
    ".".join(("keras_dep", *path.relative_to(ROOT).with_suffix("").parts))
    for path in sorted(ROOT.rglob("*.py"))
    if ">>>" in path.read_text()
]

# Examples for one backend alone.
BACKENDS = {"keras_dep.interop.torch_networks.__init__": "torch"}


class Checker(doctest.OutputChecker):
    """Frameworks print a shape `(2, 3)` as `torch.Size([2, 3])` or `TensorShape([2, 3])`."""

    def check_output(self, want, got, optionflags):
        got = re.sub(r"(?:torch\.Size|TensorShape)\(\[(.*?)\]\)", _as_tuple, got)
        return super().check_output(want, got, optionflags)


def _as_tuple(match):
    sizes = match[1]
    return f"({sizes},)" if sizes and "," not in sizes else f"({sizes})"


@pytest.mark.parametrize("name", MODULES)
def test_module(name):
    backend = BACKENDS.get(name, keras.backend.backend())
    if backend != keras.backend.backend():
        pytest.skip(f"the example needs {backend}")
    module, said = importlib.import_module(name), []
    runner = doctest.DocTestRunner(checker=Checker(), verbose=False)
    for example in doctest.DocTestFinder(exclude_empty=True).find(module):
        # What an example registers may be called later on.
        runner.run(example, out=said.append, clear_globs=False)
    assert runner.tries > 0 and runner.failures == 0, "".join(said)
