"""Recordings and their frames against Tonic's and SpikingJelly's."""

import importlib
import importlib.machinery
import pathlib
import sys
import types

import keras
import numpy as np
import pytest

from keras_dep.data import events
from keras_dep.data.events import aedat
from tests.data.events.test_framing import HEIGHT
from tests.data.events.test_framing import WIDTH
from tests.data.events.test_framing import counted
from tests.data.events.test_framing import recording
from tests.support import recordings

if keras.backend.backend() != "torch":
    pytest.skip("frames are NumPy's alone; once is enough", allow_module_level=True)

DURATION, PARTS = 1000, 8


def without_init(monkeypatch, *packages):
    """Lets single modules be imported whose packages import what is not installed."""
    top = packages[0].partition(".")[0]
    spec = importlib.machinery.PathFinder.find_spec(top)
    if spec is None or spec.origin is None:
        pytest.skip(f"{top} is not installed")
    for name in packages:
        bare = types.ModuleType(name)
        bare.__path__ = [str(pathlib.Path(spec.origin).parent.joinpath(*name.split(".")[1:]))]
        monkeypatch.setitem(sys.modules, name, bare)


@pytest.fixture
def to_frame(monkeypatch):
    without_init(monkeypatch, "tonic", "tonic.functional")
    return importlib.import_module("tonic.functional.to_frame").to_frame_numpy


@pytest.fixture
def jelly(monkeypatch):
    """SpikingJelly's integration of events, whose module asks torchvision for pictures."""
    transforms = types.ModuleType("torchvision.transforms")
    vision = types.ModuleType("torchvision")
    vision.transforms = transforms
    monkeypatch.setitem(sys.modules, "torchvision", vision)
    monkeypatch.setitem(sys.modules, "torchvision.transforms", transforms)
    pytest.importorskip("spikingjelly")
    without_init(monkeypatch, "spikingjelly.datasets")
    for name in (
        "torchvision.datasets",
        "torchvision.datasets.utils",
        "spikingjelly.datasets.base",
    ):
        stub = types.ModuleType(name)
        stub.extract_archive = stub.NeuromorphicDatasetConfig = None
        stub.NeuromorphicDatasetFolder = object
        monkeypatch.setitem(sys.modules, name, stub)
    return importlib.import_module("spikingjelly.datasets.utils")


def ours(*given, **settings):
    """Channels first, as the peers have them."""
    return np.moveaxis(events.frames(*given, **settings), -1, 1)


@pytest.mark.parametrize("seed", range(3))
def test_tonic(to_frame, seed):
    made, size = recording(120, seed), (HEIGHT, WIDTH)
    peer = {"sensor_size": (WIDTH, HEIGHT, 2)}
    np.testing.assert_array_equal(
        ours(made, size, PARTS), to_frame(made, **peer, n_event_bins=PARTS)
    )
    np.testing.assert_array_equal(
        ours(made, size, per_frame=50),
        to_frame(made, **peer, event_count=50, include_incomplete=True),
    )
    # Tonic drops the last window, which holds nothing but the event at its edge.
    windows = to_frame(made, **peer, time_window=250)
    np.testing.assert_array_equal(ours(made, size, 4, by="time", per_frame=250), windows)
    # What lies behind the last bin it drops too; here it is in the last frame.
    bins = to_frame(made, **peer, n_time_bins=PARTS)
    late = made[made["t"] >= made["t"][0] + PARTS * (DURATION // PARTS)]
    bins[-1] += np.moveaxis(counted(late), -1, 0).astype(bins.dtype)
    np.testing.assert_array_equal(ours(made, size, PARTS, by="time"), bins)


@pytest.mark.parametrize("seed", range(3))
def test_spikingjelly(jelly, seed):
    made, size = recording(123, seed), (HEIGHT, WIDTH)
    peer = {name: made[name] for name in "txyp"}
    for by, theirs in (("count", "number"), ("time", "time")):
        expected = jelly.integrate_events_by_fixed_frames_number(peer, theirs, PARTS, HEIGHT, WIDTH)
        np.testing.assert_array_equal(ours(made, size, PARTS, by=by), expected)
    # A duration of which the recording is no multiple: its last frame takes a whole step.
    expected = jelly.integrate_events_by_fixed_duration(peer, 300, HEIGHT, WIDTH)
    np.testing.assert_array_equal(ours(made, size, by="time", per_frame=300), expected)


def test_spikingjelly_reads_the_same_recordings(jelly, tmp_path):
    made = recordings.made_events(50)
    cifar = importlib.import_module("spikingjelly.datasets.cifar10_dvs")
    for write, read, theirs in (
        (recordings.write_aedat3, aedat.parse_aedat3, jelly.load_aedat_v3),
        (recordings.write_aedat2, aedat.parse_aedat2, cifar._load_origin_data),
    ):
        write(tmp_path / "made.aedat", made)
        content = (tmp_path / "made.aedat").read_bytes()
        found, expected = read(content, "made.aedat"), theirs(tmp_path / "made.aedat")
        for name in "txyp":
            np.testing.assert_array_equal(found[name], expected[name])
