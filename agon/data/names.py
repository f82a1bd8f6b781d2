"""The data sets that have a name: no torch here, because ``agon list`` reads this table and must answer at once."""

from __future__ import annotations

# name -> (module of agon.data that opens it, one line for `agon list datasets`)
DATASETS: dict[str, tuple[str, str]] = {
    "digits": ("digits", "1,797 handwritten digits, 8x8 grey, 10 classes (scikit-learn's load_digits; nothing is downloaded)"),
    "toy:ring8": ("toy", "8 Gaussians on a circle of radius 1, sigma 0.01; 100,000 fixed points in the plane (PacGAN's protocol)"),
    "toy:grid25": ("toy", "25 Gaussians on a grid from -4 to 4, sigma 0.05; 100,000 fixed points in the plane (PacGAN's protocol)"),
    "toy:swissroll": ("toy", "a spiral in the plane; 100,000 fixed points"),
    "shapes": ("shapes", "coloured shapes drawn at any size, every factor known (shape, colour, background, position, scale, rotation)"),
    "photos": ("photos", "real photographs that come with scikit-learn and scikit-image, in random crops; train and test are different photographs"),
    "mnist": ("downloads", "70,000 handwritten digits, 28x28 grey, 10 classes (downloaded, or read from path=)"),
    "fashion-mnist": ("downloads", "70,000 articles of clothing, 28x28 grey, 10 classes (downloaded, or read from path=)"),
    "cifar10": ("downloads", "60,000 photographs, 32x32 colour, 10 classes (downloaded, or read from path=)"),
    "cifar100": ("downloads", "60,000 photographs, 32x32 colour, 100 classes in 20 groups (downloaded, or read from path=)"),
}
