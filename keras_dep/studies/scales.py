"""The scales there are, from minutes to the paper's own settings."""

from keras_dep._internal import validation
from keras_dep.studies.curvature.protocol import Protocol
from keras_dep.studies.scale import OWN_SPECTRA
from keras_dep.studies.scale import SPECTRA
from keras_dep.studies.scale import Effort
from keras_dep.studies.scale import Scale
from keras_dep.studies.scale import Workload


def find(name: str) -> Scale:
    """The scale of a name.

    Args:
        name: one of `NAMES`.

    Raises:
        ValueError: there is none of that name.

    Example:

    >>> find("smoke").workloads[0].seeds
    (0, 1)
    """
    return SCALES[validation.one_of("scale", name, SCALES)]


PAPER_RIVALS = ("stog", "dlif", "hosnn", "feel")
RIVALS = (*PAPER_RIVALS, "hire", "snn_rat", "sr", "tgo", "mpd_sgr", "tg_reg")
# Beside those of `Workload.core`.
CONTROLS = ("second_component", "dep_every", "clip", "noise")
GROWTH = (1, 2, 4, 8, 16)
# Poison comes last in the epoch, right before the test images: the reading with the largest effect.
_SHARED = {"poison_position": "last", "hessian_share": 0.2}
_DIGITS = {**_SHARED, "dataset": "digits", "model": "vgg5"}
# The released code's loss and membrane.
_CIFAR = {
    **_SHARED,
    "dataset": "cifar10",
    "loss": "tet",
    "mse_weight": 0.05,
    "detach_membrane": True,
    "precision": "mixed_bfloat16",
}
_PAPER = {**_CIFAR, "model": "vgg11", "augment": "paper", "attack_examples": None}

SMOKE = Scale(
    name="smoke",
    workloads=(
        Workload(
            base={
                **_DIGITS,
                "train_examples": 192,
                "test_examples": 48,
                "batch_size": 16,
                "timesteps": 2,
                "epochs": 2,
                "attack_examples": 16,
                "watch_examples": 32,
                "hessian_examples": 4,
            },
            seeds=(0, 1),
            core=("sgd", "dep"),
            counts={"pixel": (1, 5), "released": (5,), "clamp_only": (5,)},
            reverse_counts=(1,),
            onsets=(1,),
            growth=(1, 2),
            measured=2,
        ),
    ),
    effort=Effort(
        suite="quick",
        suite_examples=8,
        released_examples=16,
        curvature=Protocol(**OWN_SPECTRA, batches=1, batch_size=16, together=16, max_steps=8),
        checklist={"steps": 2, "restarts": 1, "queries": 8, "draws": 8, "checks": (1, 3, 4, 5)},
        checklist_examples=8,
        sweep_examples=8,
        epsilons=(0, 8, 64),
        steps=(7, 10),
    ),
)
# In float32, which every processor computes at full speed.
CPU_SMALL = Scale(
    name="cpu_small",
    workloads=(
        Workload(
            base={
                **_CIFAR,
                "model": "vgg5",
                "precision": "float32",
                "train_examples": 256,
                "test_examples": 200,
                "batch_size": 16,
                "timesteps": 2,
                "epochs": 2,
                # At the usual 0.1 so few steps teach less.
                "learning_rate": 0.01,
                "attack_examples": 64,
                "watch_examples": 32,
                "hessian_examples": 8,
                # At the end alone.
                "hessian_every": 1000,
            },
            seeds=(0, 1, 2),
            rivals=(*RIVALS, *CONTROLS),
            adversarial_rivals=(*RIVALS, *CONTROLS),
            counts={"pixel": (1, 5), "released": (5,)},
            reverse_counts=(1,),
        ),
    ),
    effort=Effort(
        suite_examples=16,
        released_examples=32,
        curvature=Protocol(**OWN_SPECTRA, batches=1, batch_size=16, max_steps=20),
        checklist={"steps": 10, "restarts": 2, "queries": 200, "draws": 200},
        checklist_examples=8,
        sweep_examples=32,
        epsilons=(0, 2, 4, 8, 16, 64),
        steps=(7, 20),
    ),
)
CPU = Scale(
    name="cpu",
    workloads=(
        Workload(
            base={
                **_DIGITS,
                "epochs": 10,
                "attack_examples": None,
                "hessian_examples": 16,
            },
            seeds=(0, 1, 2, 3, 4),
            rivals=(*RIVALS, *CONTROLS),
            adversarial_rivals=(*RIVALS, *CONTROLS),
            control_counts={"pixel": (5,), "released": (5,)},
            onsets=(3, 9),
            controls=("recalibrate", "frozen"),
            fixed_images=True,
            growth=GROWTH,
            side_seeds=3,
            # At 8/255, half a level of these images, all methods keep more than nine in ten.
            radius=16,
        ),
        Workload(
            base={
                **_CIFAR,
                "model": "vgg5",
                "train_examples": 2000,
                "test_examples": 500,
                "epochs": 10,
                "attack_examples": 256,
                "watch_examples": 128,
                "hessian_examples": 0,
            },
            seeds=(0, 1, 2),
            rivals=PAPER_RIVALS,
            counts={"pixel": (1, 5), "released": (1, 5)},
            control_counts={"pixel": (5,), "released": (5,)},
            reverse_counts=(1,),
        ),
    ),
    effort=Effort(
        suite_examples=24,
        released_examples=128,
        curvature=Protocol(**OWN_SPECTRA, batches=1, batch_size=64, max_steps=30),
        checklist={"steps": 10, "restarts": 2, "queries": 300, "draws": 300},
        checklist_examples=16,
        sweep_examples=64,
        steps=(7, 20, 80),
    ),
)
GPU = Scale(
    name="gpu",
    workloads=(
        Workload(
            base={
                **_PAPER,
                "epochs": 20,
                "attack_examples": 1000,
                "hessian_examples": 0,
                "jit": "auto",
            },
            seeds=(0, 1, 2),
            rivals=PAPER_RIVALS,
            adversarial_rivals=PAPER_RIVALS,
            counts={"pixel": (1, 5), "released": (1, 2, 5), "clamp_only": (5,)},
            control_counts={"pixel": (5,), "released": (5,)},
            reverse_counts=(1, 5),
            onsets=(5, 10, 15),
            controls=("recalibrate", "frozen"),
            growth=GROWTH,
        ),
    ),
    effort=Effort(suite_examples=512, released_examples=1000, sweep_examples=512),
)
PAPER = Scale(
    name="paper",
    workloads=tuple(
        Workload(
            base={
                **_PAPER,
                "precision": "float32",
                "dataset": dataset,
                "epochs": 300,
                "weight_decay": decay,
                **own,
            },
            seeds=(0, 1, 2, 3, 4),
            rivals=PAPER_RIVALS,
            adversarial_rivals=PAPER_RIVALS,
            onsets=tuple(range(10, 101, 10)),
            controls=("recalibrate", "frozen"),
            fixed_images=True,
            growth=GROWTH,
        )
        for dataset, decay, own in (
            ("cifar10", 5e-5, {}),
            ("cifar100", 5e-4, {}),
            # ImageNet, the paper's fourth set, is left to the presets of apps/hetero_train.py.
            ("tiny_imagenet", 5e-4, {"model": "vgg16", "augment": "standard"}),
        )
    ),
    effort=Effort(
        suite_examples=1000,
        released_examples=10000,
        curvature=Protocol(**SPECTRA, batches=20),
        checklist={"steps": 50, "restarts": 5, "queries": 5000, "draws": 10000},
        checklist_examples=1000,
        sweep_examples=1000,
    ),
)
SCALES = {scale.name: scale for scale in (SMOKE, CPU_SMALL, CPU, GPU, PAPER)}
NAMES = tuple(SCALES)
