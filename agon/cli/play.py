"""Play with a run in the browser: a picture goes in, its translation appears beside it.

agon play RUN [--port N]
"""

from __future__ import annotations

from agon.cli import Parser
from agon.errors import UserError
from agon.locale import translate


def main(argv: list[str]) -> int:
    parser = Parser(prog="agon play", description=translate("Play with a run in the browser: a picture goes in, its translation appears beside it."))
    add = parser.add_argument
    add("run", help=translate("a run folder"))
    add("--port", type=int, default=0, help=translate("of the page's address, on this machine only (default: any that is free)"))
    add("--best", action="store_true", help=translate("the checkpoint that scored best while training, not the newest"))
    add("--device", help=translate("cpu, cuda, cuda:1, mps (default: the best there is)"))
    add("--game", help=translate("the .py file or module of a game from outside Agon; it is executed"))
    options = parser.parse_args(argv)
    if not 0 <= options.port < 65536:
        raise UserError("There is no port {port}. Expected a number from 0 (any that is free) to 65535.", port=options.port)

    from agon.playground.translator import Playground
    from agon.run import load

    run = load(options.run, options.device, game=options.game, best=options.best)
    try:
        playground = Playground(run, options.port)
    except OSError as error:
        raise UserError("Port {port} cannot be used ({why}). Expected one that is free: leave --port out.", port=options.port, why=error.strerror) from None
    print(playground.address, flush=True)
    with playground:
        try:
            playground.serve_forever()
        except KeyboardInterrupt:
            return 0
    return 0
