"""See GANs play, in a browser: learn with a live game, create with trained runs, follow and start trainings.

agon play [RUN] [--runs FOLDER] [--port N] [--host ADDRESS]
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

from agon.cli import Parser
from agon.errors import Unavailable, UserError
from agon.locale import translate


def main(argv: list[str]) -> int:
    options = _parser().parse_args(argv)
    if not 0 <= options.port < 65536:
        raise UserError("There is no port {port}. Expected a number from 0 (any that is free) to 65535.", port=options.port)
    try:
        from agon.playground.serve import LOOPBACK, launch
    except ImportError as error:
        raise Unavailable("The playground needs {name}, which is not installed. Install it: pip install 'agon-gan[play]'", name=error.name) from None
    from agon.playground.desk import Desk
    from agon.run import read_config

    first = Path(options.run) if options.run else None
    if first:
        read_config(first)  # a folder that is no run is refused here
    for folder in options.data:
        if not Path(folder).exists():
            raise UserError("There is no folder {folder}. Expected one that trainings may take their data from.", folder=folder)
    password = _password() if options.host not in LOOPBACK else ""
    desk = Desk(Path(options.runs), first, device=options.device, game=options.game, best=options.best, data=[Path(folder) for folder in options.data])
    try:
        server = launch(desk, host=options.host, port=options.port, password=password, names=tuple(options.name))
    except BaseException:
        desk.close()
        raise
    print(server.address, flush=True)
    if not options.no_browser and sys.stdout.isatty():
        import webbrowser

        webbrowser.open(server.address)
    with contextlib.suppress(KeyboardInterrupt):  # uvicorn hands the signal on once it has ended
        server.serve()
    return 0


def _parser() -> Parser:
    parser = Parser(
        prog="agon play", description=translate("See GANs play, in a browser: learn with a live game, create with trained runs, follow and start trainings.")
    )
    add = parser.add_argument
    add("run", nargs="?", help=translate("a run folder to create with (default: those under --runs)"))
    add("--runs", default="runs", help=translate("the folder of runs, where trainings started from the page go too (default: runs)"))
    add("--data", action="append", default=[], metavar="FOLDER", help=translate("a folder of pictures that trainings may use; may be repeated"))
    add("--port", type=int, default=0, help=translate("of the page's address (default: any that is free)"))
    add("--host", default="127.0.0.1", help=translate("listen for other machines too, such as 0.0.0.0; asks for a password, or takes $AGON_PASSWORD"))
    add("--name", action="append", default=[], help=translate("a further name that this machine is reached by; may be repeated"))
    add("--no-browser", action="store_true", help=translate("print the address and open nothing"))
    add("--best", action="store_true", help=translate("the checkpoint that scored best while training, not the newest"))
    add("--device", help=translate("cpu, cuda, cuda:1, mps (default: the best there is)"))
    add("--game", help=translate("the .py file or module of a game from outside Agon; it is executed"))
    return parser


def _password() -> str:
    """For --host: $AGON_PASSWORD, or typed at a terminal."""
    if password := os.environ.get("AGON_PASSWORD", ""):
        return password
    if not sys.stdin.isatty():
        return ""
    import getpass

    return getpass.getpass(translate("Password for other machines: "))
