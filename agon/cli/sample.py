"""Draw samples from a run into a file or folder.

agon sample RUN -n 64 --seed 0 --out FILE_OR_FOLDER [--class C] [--truncation 0.7] [--noise MODE] [--mix-seed S] [--w FILE] [--save-w FILE]
            [--CONTROL VALUE]
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from agon.cli import Parser, pairs
from agon.errors import UserError
from agon.locale import translate

if TYPE_CHECKING:
    from torch import Tensor


def main(argv: list[str]) -> int:
    parser = Parser(prog="agon sample", description=translate("Draw samples from a run into a file or folder."))
    add = parser.add_argument
    add("run", help=translate("a run folder"))
    add("-n", type=int, help=translate("how many (default 64, or as many as --w holds)"))
    add("--seed", type=int, default=0, help=translate("the same seed gives the same samples (default 0)"))
    add("--class", dest="label", help=translate("only this class: its number or its name"))
    add("--truncation", type=float, help=translate("closer to the mean, less varied: style-based games from 1 (none) to 0, BigGAN's bound on the latent"))
    add("--truncation-layers", type=int, help=translate("truncate so many layers, from the coarsest (style-based games)"))
    add("--noise", help=translate("const, random or none (style-based games)"))
    add("--mix-seed", type=int, help=translate("take some layers' styles from this seed (style-based games)"))
    add("--mix-layers", help=translate("which: 4- or 0-3,6 (default: the finer half)"))
    add("--w", help=translate("draw these styles: a .npy file, N x layers x length or N x length"))
    add("--save-w", help=translate("also write the samples' styles to this .npy file"))
    add("--out", default="samples.png", help=translate(".png: one grid; .npz, .csv: numbers; else a folder of PNG files (default samples.png)"))
    add("--overwrite", action="store_true", help=translate("replace what --out names"))
    add("--best", action="store_true", help=translate("the checkpoint that scored best while training, not the newest"))
    add("--device", help=translate("cpu, cuda, cuda:1, mps (default: the best there is)"))
    add("--CONTROL", dest="ignored", metavar="VALUE", help=translate("what else the game can be asked for (agon show GAME): --rotation 0.1, --category 3"))
    add("--game", help=translate("the .py file or module of a game from outside Agon; it is executed"))
    options, rest = parser.parse_known_args(argv)
    further = {name: control(text) for name, text in pairs(rest).items()}
    if options.ignored is not None:
        further["CONTROL"] = options.ignored
    if options.n is not None and options.n < 1:
        raise UserError("{n} samples cannot be drawn. Expected -n 1 or more.", n=options.n)

    from agon.media import save_samples
    from agon.run import load

    run = load(options.run, options.device, game=options.game, best=options.best)
    given = further | {name: value for name in CONTROLS if (value := getattr(options, name)) is not None}
    if options.w is not None:
        given["w"] = read_styles(options.w)
        if options.n is not None and options.n != len(given["w"]):
            raise UserError("{path} holds {count} styles, and -n asks for {n}. Leave out -n.", path=options.w, count=len(given["w"]), n=options.n)
    n = len(given["w"]) if "w" in given else options.n or 64
    if options.save_w is not None:
        write_styles(run, n, options, given)
    written = save_samples(run.sample(n, seed=options.seed, **given), options.out, overwrite=options.overwrite)
    print(written[0] if len(written) == 1 else written[0].parent)
    return 0


CONTROLS = ("label", "truncation", "truncation_layers", "noise", "mix_seed", "mix_layers")


def control(text: str) -> float | int | str | tuple:
    """A word of the command line as what it says: ``3``, ``0.25``, ``0.1,-0.2``, else text."""
    if "," in text:
        return tuple(control(part) for part in text.split(","))
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def read_styles(path: str) -> Tensor:
    """The styles in a .npy file, float32."""
    import numpy as np
    import torch

    try:
        styles = np.load(path, allow_pickle=False)
        if styles.ndim not in (2, 3) or styles.dtype.kind != "f" or not len(styles):
            raise ValueError(f"{styles.dtype} numbers of shape {styles.shape}")
    except (OSError, ValueError, EOFError) as error:
        raise UserError("{path} holds no styles ({why}). Expected a .npy file that --save-w wrote: N x layers x length.", path=path, why=error) from None
    return torch.from_numpy(styles.astype("float32"))


def write_styles(run, n: int, options, given: dict) -> None:
    """The styles of the samples, to --save-w."""
    import numpy as np

    if "w" in given or "mix_seed" in given:
        raise UserError("--save-w writes the styles of a seed. Leave out --w and --mix-seed.")
    if Path(options.save_w).exists() and not options.overwrite:
        raise UserError("{path} is there already. Choose another name, or add --overwrite.", path=options.save_w)
    styles = run.styles(n, seed=options.seed, **{name: given[name] for name in ("label", "truncation", "truncation_layers") if name in given})
    with open(options.save_w, "wb") as file:
        np.save(file, styles.numpy(), allow_pickle=False)
