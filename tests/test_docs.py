"""The docs site builds without a warning, and what it shows a reader to type runs as it stands."""

import importlib
import os
import pathlib
import re
import subprocess
import sys

import keras
import pytest
from mktestdocs import check_md_file

import keras_dep

ROOT = pathlib.Path(__file__).parents[1]
DOCS = ROOT / "docs"
# What runs these: tests/peers/test_guide.py, tests/optimizers/test_plan.py.
ELSEWHERE = {"guides/other-attack-libraries.md", "guides/optimizer-summary.md"}
TORCH = {"guides/is-this-snn-robust.md", "guides/snntorch.md", "guides/norse.md"}
PAGES = [
    name
    for path in sorted(DOCS.rglob("*.md"))
    if "```python" in path.read_text()
    and (name := path.relative_to(DOCS).as_posix()) not in ELSEWHERE
]
ROOMS = (
    "attacks callbacks curvature data defences distribution evaluation experiments interop layers "
    "losses models optimizers profiling surrogates training"
).split()


@pytest.mark.parametrize("name", PAGES)
def test_page_runs(name, tmp_path, monkeypatch):
    if name in TORCH and keras.backend.backend() != "torch":
        pytest.skip("its networks are modules of torch")
    monkeypatch.chdir(tmp_path)
    check_md_file(DOCS / name, memory=True)


@pytest.mark.skipif(
    keras.backend.backend() != "torch",
    reason="its calls are those of the quickstart, which runs on every backend",
)
def test_readme_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    check_md_file(ROOT / "README.md", memory=True)


def test_readme_keeps_to_one_screen():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150


@pytest.mark.parametrize("room", ROOMS)
def test_every_public_name_is_in_the_reference(room):
    listed = re.findall(r"^::: keras_dep\.(\S+)$", (DOCS / "api" / f"{room}.md").read_text(), re.M)
    public = getattr(importlib.import_module(f"keras_dep.{room}"), "__all__", ())
    assert set(public) <= {name.rsplit(".", 1)[-1] for name in listed}
    for name in listed:
        _resolve(name)


def test_every_name_of_the_package_is_in_the_reference():
    listed = set()
    for path in (DOCS / "api").glob("*.md"):
        listed |= set(re.findall(r"^::: keras_dep\.(\S+)$", path.read_text(), re.M))
    assert set(keras_dep.__all__) - set(ROOMS) - {"__version__"} <= listed


def test_site_builds(tmp_path):
    pytest.importorskip("mkdocs", reason="mkdocs is missing; it comes with the extra docs")
    if keras.backend.backend() != "torch":
        pytest.skip("the site is the same on every backend; torch's run builds it")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-q", "-d", str(tmp_path)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    # Read from the sources: a docstring that was not found leaves no warning.
    reference = (tmp_path / "api" / "optimizers" / "index.html").read_text()
    assert "Dominant Eigencomponent Projection around any Keras optimizer" in reference
    assert "Examples:" in reference and "&gt;&gt;&gt;" in reference


def _resolve(name):
    """The object behind a dotted name below `keras_dep`, as griffe finds it."""
    parts = name.split(".")
    for cut in range(len(parts) - 1, -1, -1):
        try:
            found = importlib.import_module(".".join(["keras_dep", *parts[:cut]]))
        except ImportError:
            continue
        for part in parts[cut:]:
            found = getattr(found, part)
        return found
    raise AssertionError(name)
