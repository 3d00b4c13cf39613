"""The curvature of finished hetero-training runs on clean and attacked images, side by side."""

from keras_dep.curvature_study.measure import measure
from keras_dep.curvature_study.protocol import Protocol
from keras_dep.curvature_study.runs import Run
from keras_dep.curvature_study.runs import load_images
from keras_dep.curvature_study.tables import markdown

__all__ = ["load_images", "markdown", "measure", "Protocol", "Run"]
