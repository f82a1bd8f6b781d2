"""Draw samples from a run into a file or folder.

agon sample RUN -n 64 --seed 0 --out FILE_OR_FOLDER [--class C]
"""

from __future__ import annotations

from agon.cli import Parser
from agon.errors import UserError
from agon.locale import translate


def main(argv: list[str]) -> int:
    parser = Parser(prog="agon sample", description=translate("Draw samples from a run into a file or folder."))
    add = parser.add_argument
    add("run", help=translate("a run folder"))
    add("-n", type=int, default=64, help=translate("how many (default 64)"))
    add("--seed", type=int, default=0, help=translate("the same seed gives the same samples (default 0)"))
    add("--class", dest="label", help=translate("only this class: its number or its name"))
    add("--out", default="samples.png", help=translate(".png: one grid; .npz, .csv: numbers; else a folder of PNG files (default samples.png)"))
    add("--overwrite", action="store_true", help=translate("replace what --out names"))
    add("--best", action="store_true", help=translate("the checkpoint that scored best while training, not the newest"))
    add("--device", help=translate("cpu, cuda, cuda:1, mps (default: the best there is)"))
    add("--game", help=translate("the .py file or module of a game from outside Agon; it is executed"))
    options = parser.parse_args(argv)
    if options.n < 1:
        raise UserError("{n} samples cannot be drawn. Expected -n 1 or more.", n=options.n)

    from agon.media import save_samples
    from agon.run import load

    run = load(options.run, options.device, game=options.game, best=options.best)
    conditions = {} if options.label is None else {"label": options.label}
    written = save_samples(run.sample(options.n, seed=options.seed, **conditions), options.out, overwrite=options.overwrite)
    print(written[0] if len(written) == 1 else written[0].parent)
    return 0
