"""Random pictures, in memory and as files."""

import numpy as np
from PIL import Image


def pictures(count, height=12, width=10, channels=3, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, channels, height, width), np.uint8)


def save(folder, samples, names=None):
    folder.mkdir(parents=True, exist_ok=True)
    for index, sample in enumerate(samples):
        name = names[index] if names else f"{index:04d}.png"
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(sample.transpose(1, 2, 0) if len(sample) == 3 else sample[0]).save(folder / name)
    return folder
