"""Show a game: its paper, presets with their commands, and every field that can be set.

Help comes without torch; the fields need the game's module, which imports it.
"""

from __future__ import annotations

import json
import shutil
import textwrap
from typing import Any

from agon.cli import Parser
from agon.config import type_name
from agon.locale import translate


def main(argv: list[str]) -> int:
    parser = Parser(
        prog="agon show",
        description=translate("Show a game: its paper, presets with their commands, and every field that can be set."),
    )
    parser.add_argument("game", help=translate("a name of 'agon list games', a .py file, or a module"))
    parser.add_argument("--json", action="store_true", help=translate("one JSON object on stdout"))
    options = parser.parse_args(argv)
    description = describe(options.game)
    print(json.dumps(description, ensure_ascii=False, indent=2, default=str) if options.json else render(description))
    return 0


def describe(name: str) -> dict[str, Any]:
    """Everything a game says about itself, as plain types. Raises UserError for an unknown game."""
    import inspect
    import sys

    from agon.catalog import describe as entry_of
    from agon.catalog import load
    from agon.config import fields

    game = load(name)
    text = inspect.cleandoc(sys.modules[game.__module__].__doc__ or "")
    entry = entry_of(name, text)
    presets = {
        key: {
            "for": preset.kind,
            "max_size": preset.max_size if preset.max_size < 1 << 30 else None,
            "chosen_by_itself": preset.auto,
            "fields": preset.fields,
            "note": preset.note,
            "command": f"agon train {name} --preset {key} --data DATA",
        }
        for key, preset in game.presets.items()
    }
    rows = [
        {"name": field, "type": type_name(kind), "default": default, "help": help_text}
        for field, kind, default, help_text in fields(game.Config)
    ]
    return {
        "name": name,
        "title": entry.title,
        "paper": entry.paper,
        "year": entry.year,
        "url": entry.url,
        "text": text.partition("\n\n")[2],
        "presets": presets,
        "controls": list(game.controls),
        "fields": rows,
    }


def render(description: dict[str, Any]) -> str:
    """The page for a terminal."""
    room = min(140, max(60, shutil.get_terminal_size((120, 24)).columns))
    parts = [
        f"{description['name']} — {description['paper']}",
        f"  {description['url']}" if description["url"] else "",
        "",
    ]
    for paragraph in description["text"].split("\n\n"):
        parts += [_wrapped(paragraph, room, "  "), ""]
    parts += [translate("Presets")]
    for name, preset in description["presets"].items():
        parts += _preset(name, preset, room)
    if description["controls"]:
        asked = translate("Samples can be asked for (agon sample RUN --NAME VALUE): {names}").format(names=", ".join(description["controls"]))
        parts += ["", _wrapped(asked, room, "")]
    parts += ["", translate("Fields (set with --NAME VALUE)")]
    for field in description["fields"]:
        parts.append(f"  --{field['name']} {_plain(field['default'])}   [{field['type']}]")
        if field["help"]:
            parts.append(_wrapped(field["help"], room, "        "))
    return "\n".join(parts)


def _preset(name: str, preset: dict[str, Any], room: int) -> list[str]:
    kinds = {"image": translate("pictures"), "points": translate("points"), "any": translate("any data")}
    limit = kinds.get(preset["for"], preset["for"])
    if preset["max_size"]:
        limit = translate("pictures up to {size} pixels").format(size=preset["max_size"])
    chosen = translate("chosen by itself") if preset["chosen_by_itself"] else translate("by name only")
    lines = [f"  {name}  ({limit}; {chosen})", f"        {preset['command']}"]
    if preset["note"] and preset["note"] != preset["command"]:
        lines.append(_wrapped(preset["note"], room, "        "))
    if preset["fields"]:
        lines.append(
            _wrapped(", ".join(f"{key}={_plain(value)}" for key, value in preset["fields"].items()), room, "        ")
        )
    return lines


def _wrapped(text: str, room: int, indent: str) -> str:
    return textwrap.fill(
        " ".join(text.split()), room, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False
    )


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) or value is None else str(value)
