"""Methods of training as values that a run composes: the paper's, its rivals, and controls."""

# Each of these registers itself.
from keras_dep.defences import clip as _clip  # noqa: F401
from keras_dep.defences import dep as _dep  # noqa: F401
from keras_dep.defences import dep_every as _dep_every  # noqa: F401
from keras_dep.defences import dlif as _dlif  # noqa: F401
from keras_dep.defences import feel as _feel  # noqa: F401
from keras_dep.defences import free_at as _free_at  # noqa: F401
from keras_dep.defences import hire as _hire  # noqa: F401
from keras_dep.defences import hosnn as _hosnn  # noqa: F401
from keras_dep.defences import mpd_sgr as _mpd_sgr  # noqa: F401
from keras_dep.defences import noise as _noise  # noqa: F401
from keras_dep.defences import random_rank_one as _random_rank_one  # noqa: F401
from keras_dep.defences import sam as _sam  # noqa: F401
from keras_dep.defences import second_component as _second_component  # noqa: F401
from keras_dep.defences import sgd as _sgd  # noqa: F401
from keras_dep.defences import snn_rat as _snn_rat  # noqa: F401
from keras_dep.defences import sr as _sr  # noqa: F401
from keras_dep.defences import stog as _stog  # noqa: F401
from keras_dep.defences import tg_reg as _tg_reg  # noqa: F401
from keras_dep.defences import tgo as _tgo  # noqa: F401
from keras_dep.defences.defence import Defence
from keras_dep.defences.defence import TrainingPlan
from keras_dep.defences.registry import describe
from keras_dep.defences.registry import get
from keras_dep.defences.registry import names
from keras_dep.defences.registry import parse
from keras_dep.defences.registry import register

__all__ = ["Defence", "TrainingPlan", "describe", "get", "names", "parse", "register"]
