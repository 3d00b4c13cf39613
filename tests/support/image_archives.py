"""Small archives in the layout of the public ones, with images drawn at random."""

import io
import zipfile

import numpy as np
from PIL import Image

ROOT = "tiny-imagenet-200/"
WNIDS = ("n02", "n01", "n03")


def jpeg(size=(64, 64), mode="RGB", seed=0, quality=90):
    """A JPEG file of smooth random content."""
    draw = np.random.default_rng(seed)
    channels = {"L": 1, "RGB": 3, "CMYK": 4}[mode]
    coarse = draw.integers(0, 256, (4, 4, channels), dtype=np.uint8)
    image = Image.fromarray(coarse[..., 0] if mode == "L" else coarse, mode)
    file = io.BytesIO()
    image.resize(size, Image.Resampling.BICUBIC).save(file, "JPEG", quality=quality)
    return file.getvalue()


def tiny_imagenet_files(per_class=4, validation=6, wnids=WNIDS):
    """The members of an archive of Tiny ImageNet, as a dictionary from names to bytes."""
    files = {f"{ROOT}wnids.txt": "\n".join(wnids).encode()}
    files[f"{ROOT}words.txt"] = "".join(f"{wnid}\tthing {wnid}\n" for wnid in wnids).encode()
    seed = 0
    for wnid in wnids:
        boxes = ""
        for number in range(per_class):
            name, seed = f"{wnid}_{number}.JPEG", seed + 1
            files[f"{ROOT}train/{wnid}/images/{name}"] = jpeg(seed=seed)
            boxes += f"{name}\t0\t0\t62\t62\n"
        files[f"{ROOT}train/{wnid}/{wnid}_boxes.txt"] = boxes.encode()
    lines = ""
    for number in range(validation):
        name, seed = f"val_{number}.JPEG", seed + 1
        files[f"{ROOT}val/images/{name}"] = jpeg(seed=seed)
        lines += f"{name}\t{wnids[number % len(wnids)]}\t0\t0\t62\t62\n"
    files[f"{ROOT}val/val_annotations.txt"] = lines.encode()
    files[f"{ROOT}test/images/test_0.JPEG"] = jpeg(seed=seed + 1)
    return files


def write_zip(path, files):
    """Writes the members to an archive, and returns its path."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def write_tiny_imagenet(folder, **options):
    """Writes an archive of Tiny ImageNet into a folder, and returns its members."""
    files = tiny_imagenet_files(**options)
    write_zip(folder / "tiny-imagenet-200.zip", files)
    return files
