"""Exchange of networks in the Neuromorphic Intermediate Representation (package `nir`).

NIR defines neurons by differential equations. Discretised in steps of `dt` seconds they are:

| NIR | here |
|---|---|
| `LIF`, `tau = tau' dt`, `r = tau'` | `LIF` with `tau'`, hard reset |
| `IF`, `r = 1 / dt` | `IF`, hard reset |
| `LI`, `tau = tau' dt`, `r = tau'` | `Integrator` with `tau'` |
| `I`, `r = 1 / dt` | `Integrator` with `tau=math.inf` |

with `v_leak = v_reset = 0`; another `r` scales the current. NIR's neurons fire above the threshold,
those here at or above it. NIR has no reset by subtraction, so a network can be written only with
`reset="hard"`, and no surrogate derivative, so one is chosen when a graph is read.

Source: Pedersen et al. 2024 (NIR).
"""

from keras_dep.interop.nir.reading import from_nir
from keras_dep.interop.nir.writing import to_nir

__all__ = ["from_nir", "to_nir"]
