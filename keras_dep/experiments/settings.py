"""The settings of a hetero-training run, as a frozen dataclass."""

import dataclasses
import math
import types
import typing
from collections.abc import Sequence
from typing import Any

from keras_dep import models
from keras_dep import surrogates
from keras_dep._internal import validation
from keras_dep.data import sources
from keras_dep.data import tfds_files
from keras_dep.data import transforms
from keras_dep.data.events import Framing
from keras_dep.data.events.framing import DIVISIONS
from keras_dep.models.builder import ENCODERS
from keras_dep.models.builder import NORMALIZATIONS
from keras_dep.training.poison_schedule import POSITIONS
from keras_dep.training.poison_schedule import PoisonSchedule

ANY = math.inf
_KINDS = {str: "a string", int: "an integer", float: "a number", bool: "True or False"}
GROUPS = ("data", "network", "training", "poison", "measurement")


def _field(
    default: Any,
    group: str,
    text: str,
    choices: Sequence[str] | None = None,
    limits: tuple[float, float] | None = None,
) -> Any:
    about = {"group": group, "help": text, "choices": choices, "limits": limits}
    return dataclasses.field(default=default, metadata=about)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of a hetero-training run, apart from its method.

    Each field carries its help text, group, choices and limits as metadata; the flags of
    `apps/hetero_train.py` are these fields. Radii are in pixel units of [0, 1].

    Raises:
        ValueError: a value outside its limits; one line with value, limit and mend.

    Example:

    >>> Settings(epochs=2, poison_epoch=1).poison.batches(epoch=0, steps=10)
    ()
    """

    dataset: str = _field(
        "digits",
        "data",
        "Data set; digits is embedded, the others are prepared by apps/data.py. Those of event "
        "cameras (dvs...) need encoder=events.",
        choices=sources.names(),
    )
    data_dir: str | None = _field(None, "data", "TFDS folder; default: the user's.")
    download: bool = _field(False, "data", "Let TFDS download a missing data set.")
    train_examples: int | None = _field(
        None, "data", "First n training images; default all.", limits=(1, ANY)
    )
    test_examples: int | None = _field(
        None, "data", "First n test images; default all.", limits=(1, ANY)
    )
    augment: str = _field(
        "none",
        "data",
        "standard: crop and flip; paper: cutout too; resized_crop: random crop resized, and flip.",
        choices=transforms.names(),
    )
    batch_size: int = _field(128, "data", "Images per batch.", limits=(1, ANY))
    workers: int | None = _field(
        None,
        "data",
        "Workers that prepare batches; default: one for images in memory, else one per core.",
        limits=(0, ANY),
    )
    worker_processes: bool = _field(
        False, "data", "Decode images in processes, in place of threads; for many cores."
    )
    frames_by: str = _field(
        "count",
        "data",
        "Division of a recording into T frames: equally many events, or equal time.",
        choices=DIVISIONS,
    )
    frame_side: int = _field(
        128, "data", "Height and width of frames; those of the sensor are 128.", limits=(1, 128)
    )
    frame_saturation: int = _field(
        8, "data", "Events that make a pixel of a frame 1; 1: binary frames.", limits=(1, ANY)
    )

    model: str = _field("vgg5", "network", "Spiking network.", choices=models.names())
    spiking: bool = _field(True, "network", "Spikes, or the ANN counterpart with ReLUs.")
    timesteps: int = _field(4, "network", "Steps T.", limits=(1, 1000))
    tau: float = _field(
        1.1, "network", "Membrane time constant in steps; decay is 1 - 1/tau.", limits=(1, ANY)
    )
    threshold: float = _field(1.0, "network", "Firing threshold, positive.", limits=(1e-6, 1e6))
    reset: str = _field(
        "soft", "network", "Reset of the membrane after a spike.", choices=("soft", "hard")
    )
    detach_reset: bool = _field(False, "network", "Cut the gradient through the reset.")
    detach_membrane: bool = _field(
        False, "network", "Cut the gradient through time, as the paper's released code does."
    )
    surrogate: str = _field(
        "triangle", "network", "Surrogate derivative.", choices=surrogates.names()
    )
    width: float | None = _field(
        None, "network", "Width of the surrogate; default: the usual one.", limits=(1e-6, 1e6)
    )
    encoder: str = _field(
        "direct",
        "network",
        "direct: the image at each step; rate: Bernoulli spikes; latency: one spike per pixel; "
        "events: frames of a recording.",
        choices=ENCODERS,
    )
    normalization: str = _field(
        "stepwise",
        "network",
        "Batch statistics per time step, merged over time, or merged and scaled to the threshold "
        "(tdbn).",
        choices=NORMALIZATIONS,
    )
    dropout: float = _field(
        0.0, "network", "Dropout rate after each spiking layer.", limits=(0, 0.999)
    )

    epochs: int = _field(3, "training", "Epochs.", limits=(1, ANY))
    loss: str = _field(
        "mean_logit",
        "training",
        "Cross-entropy of the mean logits, or mean of each step's (tet).",
        choices=("mean_logit", "tet"),
    )
    mse_weight: float = _field(
        0.0, "training", "Weight of the term that pulls logits to 1.", limits=(0, 1)
    )
    learning_rate: float = _field(0.1, "training", "Learning rate at the start.", limits=(0, 1e6))
    momentum: float = _field(0.9, "training", "Momentum.", limits=(0, 1))
    weight_decay: float = _field(
        5e-4, "training", "Weight decay, added to the gradient (coupled).", limits=(0, 1e6)
    )
    schedule: str = _field(
        "cosine",
        "training",
        "Learning rate per epoch.",
        choices=("constant", "cosine"),
    )
    rank_one: str = _field(
        "keep",
        "training",
        "DEP on matrices with a side of 1; the released code removes.",
        choices=("keep", "remove"),
    )
    seed: int = _field(
        0, "training", "Seed of weights, order, augmentation and poison.", limits=(0, 2**31 - 1)
    )
    precision: str = _field(
        "float32",
        "training",
        "Dtype policy.",
        choices=("float32", "mixed_float16", "mixed_bfloat16"),
    )
    jit: str = _field(
        "auto",
        "training",
        "Compilation of the train step.",
        choices=("auto", "on", "off"),
    )

    base: str = _field(
        "clean",
        "poison",
        "Kind of the ordinary batches.",
        choices=("clean", "adversarial"),
    )
    poison_count: int = _field(
        1, "poison", "Batches of the other kind per poisoned epoch.", limits=(0, ANY)
    )
    poison_epoch: int = _field(0, "poison", "First poisoned epoch, from 0.", limits=(0, ANY))
    poison_every_epoch: bool = _field(
        True, "poison", "Poison every epoch from the first on, or only the first."
    )
    poison_mode: str = _field(
        "insert",
        "poison",
        "insert: between ordinary batches; replace: instead of some of them.",
        choices=("insert", "replace"),
    )
    poison_position: str = _field("random", "poison", "Place in the epoch.", choices=POSITIONS)
    poison_resample: bool = _field(True, "poison", "Draw the extra images anew each epoch.")
    poison_protocol: str = _field(
        "pixel",
        "poison",
        "How poison is perturbed: pixel: the attack below, in pixel units; released: the same by "
        "the paper's released code, on the normalised image and clamped to [0, 1] there; "
        "clamp_only: that clamp by itself.",
        choices=("pixel", "released", "clamp_only"),
    )
    normalization_control: str = _field(
        "none",
        "poison",
        "recalibrate: running statistics are measured anew on clean images after training; frozen: "
        "poison leaves them as they are.",
        choices=("none", "recalibrate", "frozen"),
    )
    attack: str = _field(
        "fgsm",
        "poison",
        "Attack in training, on adversarial or poisoned batches.",
        choices=("fgsm", "pgd", "none"),
    )
    epsilon: float = _field(
        2 / 255, "poison", "Radius of the attack in training, in pixel units.", limits=(0, 1)
    )
    attack_step_size: float = _field(
        0.01, "poison", "Step of pgd in training, in pixel units.", limits=(0, 1)
    )
    attack_steps: int = _field(7, "poison", "Steps of pgd in training.", limits=(1, ANY))

    eval_epsilon: float = _field(
        8 / 255, "measurement", "Radius of the final FGSM and PGD, in pixel units.", limits=(0, 1)
    )
    eval_step_size: float = _field(
        0.01, "measurement", "Step of the final PGD, in pixel units.", limits=(0, 1)
    )
    eval_steps: int = _field(7, "measurement", "Steps of the final PGD.", limits=(1, ANY))
    eval_restarts: int = _field(1, "measurement", "Restarts of the final PGD.", limits=(1, ANY))
    attack_examples: int | None = _field(
        1000,
        "measurement",
        "First n test images to attack; the presets of the paper attack all.",
        limits=(1, ANY),
    )
    watch_examples: int = _field(
        256,
        "measurement",
        "First n test images, measured around each poisoned batch.",
        limits=(1, ANY),
    )
    hessian_examples: int = _field(
        32,
        "measurement",
        "First n training images, for the Hessian; 0: no Hessian.",
        limits=(0, ANY),
    )
    hessian_every: int = _field(
        0, "measurement", "Steps between Hessians; 0: at each epoch's end.", limits=(0, ANY)
    )
    hessian_share: float = _field(
        1.0,
        "measurement",
        "Largest share of the training time for Hessians; beyond it only the last is measured.",
        limits=(0, ANY),
    )

    keep_epochs: bool = _field(
        False, "measurement", "Keep the weights of every epoch, for apps/hessian.py."
    )

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            _check(field, getattr(self, field.name))
        self._check_data()
        if self.poison_count and self.poison_epoch >= self.epochs:
            raise ValueError(
                f"poison_epoch must be below epochs={self.epochs} (epochs count from 0); received "
                f"{self.poison_epoch}; poison_count=0 trains without poison."
            )
        if self.attack == "none" and (self.base == "adversarial" or self.poison_count):
            raise ValueError(
                "attack='none' leaves nothing to perturb with base="
                f"{self.base!r} and poison_count={self.poison_count}; choose fgsm or pgd, or "
                "base='clean' with poison_count=0."
            )
        inserts_perturbed = self.base == "clean" and self.poison_mode == "insert"
        if self.poison_protocol != "pixel" and not inserts_perturbed:
            raise ValueError(
                "poison_protocol must be pixel unless base='clean' and poison_mode='insert'; "
                f"received {self.poison_protocol!r} with base={self.base!r} and "
                f"poison_mode={self.poison_mode!r}."
            )
        if self.normalization_control == "frozen" and self.poison_mode != "insert":
            raise ValueError(
                "normalization_control must not be frozen where poison replaces ordinary batches; "
                "received 'frozen' with poison_mode='replace'; choose poison_mode='insert'."
            )

    def _check_data(self) -> None:
        takes_frames = self.dataset in tfds_files.EVENT_SETS
        if takes_frames != (self.encoder == "events"):
            holds, wanted = "images", "direct, rate or latency"
            if takes_frames:
                holds, wanted = "recordings of an event camera", "events"
            raise ValueError(
                f"encoder must be {wanted} for dataset={self.dataset!r}, which holds {holds}; "
                f"received {self.encoder!r}."
            )
        if self.dataset == "dvs128_gesture" and self.augment != "none":
            raise ValueError(
                "augment must be none for dvs128_gesture, where a mirrored right hand is the class "
                f"of the left one; received {self.augment!r}."
            )

    @property
    def framing(self) -> Framing:
        """How the recordings of an event set become frames."""
        return Framing(
            timesteps=self.timesteps,
            by=self.frames_by,
            side=self.frame_side,
            saturation=self.frame_saturation,
        )

    @property
    def poison(self) -> PoisonSchedule:
        """The `PoisonSchedule` of these settings."""
        return PoisonSchedule(
            first_epoch=self.poison_epoch,
            count=self.poison_count,
            every_epoch=self.poison_every_epoch,
            position=self.poison_position,
            seed=self.seed,
        )


def kind(field: dataclasses.Field) -> Any:
    """The type of a field apart from `None`: `str`, `int`, `float` or `bool`."""
    if isinstance(field.type, types.UnionType):
        return next(part for part in typing.get_args(field.type) if part is not type(None))
    return field.type


def _check(field: dataclasses.Field, value: Any) -> None:
    choices, limits = field.metadata["choices"], field.metadata["limits"]
    if value is None and isinstance(field.type, types.UnionType):
        return
    wanted = kind(field)
    # An int is a valid float; a bool, though an int in Python, is neither.
    fits = isinstance(value, (int, float) if wanted is float else wanted)
    if not fits or (isinstance(value, bool) and wanted is not bool):
        raise ValueError(f"{field.name} must be {_KINDS[wanted]}; received {value!r}.")
    if choices:
        validation.one_of(field.name, value, choices)
    if not limits:
        return
    low, high = limits
    if not low <= value <= high:
        reach = f"at least {low:g}" if high == ANY else f"in [{low:g}, {high:g}]"
        raise ValueError(f"{field.name} must be {reach}; received {value}.")
