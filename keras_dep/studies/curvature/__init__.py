"""The curvature of finished hetero-training runs on clean and attacked images, side by side."""

from keras_dep.studies.curvature.measure import measure
from keras_dep.studies.curvature.protocol import Protocol
from keras_dep.studies.curvature.runs import Run
from keras_dep.studies.curvature.runs import load_images
from keras_dep.studies.curvature.tables import markdown

__all__ = ["load_images", "markdown", "measure", "Protocol", "Run"]
