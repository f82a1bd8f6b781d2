"""Write a run's generator for other programs: safetensors, ONNX, torch.export, a folder for the Hugging Face Hub.

agon export RUN --to safetensors|onnx|torch|hub --out PATH [--best] [--precision fp32] [--overwrite]
"""

from __future__ import annotations

import sys
from pathlib import Path

from agon.cli import Parser
from agon.locale import translate


def main(argv: list[str]) -> int:
    parser = Parser(
        prog="agon export",
        description=translate("Write a run's generator for other programs: safetensors, ONNX, torch.export, a folder for the Hugging Face Hub."),
    )
    add = parser.add_argument
    add("run", help=translate("a run folder"))
    add("--to", required=True, metavar="TARGET", help=translate("safetensors (for Python), onnx, torch (a .pt2 graph), hub (a folder with a model card)"))
    add("--out", required=True, help=translate("the file to write, or for hub the folder"))
    add("--overwrite", action="store_true", help=translate("replace what --out names"))
    add("--precision", default="fp32", help=translate("of the stored weights, fp32, fp16 or bf16 (safetensors and hub; default fp32)"))
    add("--best", action="store_true", help=translate("the checkpoint that scored best while training, not the newest"))
    add("--device", default="cpu", help=translate("where the generator runs meanwhile, and for which a torch graph is made (default cpu)"))
    add("--game", help=translate("the .py file or module of a game from outside Agon; it is executed"))
    options = parser.parse_args(argv)

    from agon.formats.export import check, export
    from agon.run import load

    check(options.to, Path(options.out).expanduser(), options.precision, options.overwrite)
    run = load(options.run, options.device, game=options.game, best=options.best)
    done = export(run, options.to, options.out, precision=options.precision, overwrite=options.overwrite)
    print(done.path)
    if done.difference is not None:
        words = translate("Compared with the run at batches 1, 3 and 8: relative difference {found}. Inputs: {inputs}.")
        print(words.format(found=f"{done.difference:.1e}", inputs=", ".join(done.inputs)), file=sys.stderr)
    if options.to == "hub":
        words = translate("Read README.md and fill in the licence. Nothing was uploaded; to do so: hf upload USER/NAME {path}")
        print(words.format(path=done.path), file=sys.stderr)
    return 0
