"""The files and TensorBoard events of an attack run, which the chief of several workers writes."""

import contextlib
import json
import os

from apps import command


class Report(contextlib.AbstractContextManager):
    """Writes texts, tables, curves and pictures into a folder, and shows the texts.

    On workers other than the chief it does nothing.

    Args:
        folder: the folder.
    """

    def __init__(self, folder):
        self.folder = folder
        self.chief = command.speaks()
        self._writer = None

    def __enter__(self):
        from keras_dep.summaries import EventWriter

        if self.chief:
            self._writer = EventWriter(self.folder).__enter__()
        return self

    def __exit__(self, *raised):
        if self._writer is not None:
            self._writer.__exit__(*raised)

    def path(self, name):
        """The path of a file of the folder."""
        return os.path.join(self.folder, name)

    def file(self, name, text):
        """Writes a file, whole or not at all."""
        from keras_dep._internal import atomic_io

        if self.chief:
            path = self.path(name)
            with atomic_io.whole_file(path) as unfinished, open(unfinished, "w") as file:
                file.write(text)

    def text(self, name, text):
        """Writes a Markdown file, shows it in TensorBoard, and prints it."""
        if self.chief:
            self.file(f"{name}.md", text)
            self._writer.text(name, text, 0)
            print(text)

    def scalar(self, tag, value, step=0):
        """Shows a number in TensorBoard."""
        if self.chief:
            self._writer.scalar(tag, value, step)

    def sweep(self, axis, points, title, chance, norm):
        """Writes a sweep as JSON, CSV, Markdown and two pictures, and its curves.

        Args:
            axis: `"epsilon"` or `"steps"`.
            points: what `keras_dep.evaluation.epsilon_sweep` or `step_sweep` returned.
            title: title of the pictures.
            chance: accuracy of guessing.
            norm: norm of the radius.
        """
        from keras_dep.evaluation import plots
        from keras_dep.evaluation import report

        if not self.chief:
            return
        name = f"sweep_{axis}"
        self.file(f"{name}.json", json.dumps(points, indent=1))
        self.file(f"{name}.csv", report.table(points))
        paths = [self.path(f"{name}.{ending}") for ending in ("png", "svg")]
        plots.draw_sweep(points, paths, chance, title)
        # Steps of TensorBoard are whole numbers: grey levels, or thousandths of a length.
        scale = {"epsilon": 255 if norm == "Linf" else 1000, "steps": 1}[axis]
        for point in points:
            self.scalar(f"{name}/{point['attack']}", point["accuracy"], round(scale * point[axis]))
        self.text(name, report.sweep_markdown(points))

    def card(self, record, points, results, title, chance):
        """Writes the result card, and shows its text in TensorBoard."""
        from keras_dep import evaluation

        if self.chief:
            shown = {"title": title, "chance": chance, "folder": self.folder}
            self._writer.text("card", evaluation.card(record, points, results, **shown), 0)

    def pictures(self, model, images, labels, attacks, batch_size):
        """Shows clean and adversarial images and their differences; every worker calls it.

        Args:
            model: the model.
            images: images or frames in [0, 1].
            labels: their labels.
            attacks: attacks by the name in TensorBoard.
            batch_size: images of one pass.
        """
        import numpy as np

        from keras_dep import evaluation
        from keras_dep.data.events import as_pictures

        clean = as_pictures(images)
        if not len(images) or clean.ndim != 4 or clean.shape[-1] not in (1, 3):
            return
        for name, attack in attacks.items():
            crafted = evaluation.craft(model, attack, images, labels, batch_size)
            if self.chief:
                reach = float(np.abs(crafted - images).max())
                triples = evaluation.side_by_side(clean, as_pictures(crafted), reach)
                self._writer.image(f"visualization/{name}", triples, 0, max_images=len(triples))

    def ended(self):
        """Prints where the results are."""
        if self.chief:
            print(f"results in {self.folder}\n{command.board(self.folder)}")
