"""What results say of the layers of defences."""

import keras
import numpy as np

from keras_dep import PLIF
from keras_dep import UnfoldTime
from keras_dep import layers
from keras_dep.evaluation import metadata

T = 2


def network(*spiking):
    body = [layers.FrequencyEncoding(T, (2, 1)), *spiking]
    tail = [keras.layers.Flatten(), keras.layers.Dense(3), UnfoldTime(T)]
    return keras.Sequential([keras.Input((4, 4, 1)), *body, *tail])


def test_constants_set_and_learnt():
    gain, leak = layers.DLIF(T), layers.EvolutionaryLeakLIF(T, decay=0.5)
    adapting, guarded = layers.ThresholdAdaptingLIF(T), layers.GuardedLIF(T, noise="always")
    gates = [layers.StochasticGate(T) for _ in range(2)]
    neurons = [gain, leak, adapting, guarded, PLIF(T, tau=4.0)]
    found = metadata.describe(network(*neurons, *gates))
    assert found["encoders"] == ["FrequencyEncoding (symmetric, real, radii 2 1)"]
    assert found["unknown_layers"] == []
    kinds = {each["neuron"]: each for each in found["neurons"]}
    assert kinds["DLIF"]["gain"] == 1 and kinds["DLIF"]["reset"] == "hard"
    assert kinds["EvolutionaryLeakLIF"]["decay"] == 0.5
    assert kinds["ThresholdAdaptingLIF"]["detach_threshold"] is False
    assert np.isclose(kinds["ThresholdAdaptingLIF"]["theta"], 0.2)
    assert (kinds["GuardedLIF"]["sigma"], kinds["GuardedLIF"]["noise"]) == (0.2, "always")
    assert np.isclose(kinds["PLIF"]["tau"], 4)
    (gate,) = found["gates"]
    assert gate == {
        "gate": "StochasticGate",
        "timesteps": T,
        "gradient": "relaxed",
        "bypass": False,
        "opening": 1.0,
        "layers": 2,
    }
    gates[0].opening.assign(np.linspace(-1, 0.5, 16))
    spans = [each["opening"] for each in metadata.describe(network(*gates))["gates"]]
    assert spans == ["0.1 to 0.5", 1.0]


def test_a_network_without_gates_has_no_such_entry():
    assert "gates" not in metadata.describe(network(layers.SupportPenaltyLIF(T)))
