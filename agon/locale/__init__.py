"""User-facing strings in the user's language: English templates are the keys, ``zh_CN.json`` holds the Simplified
Chinese.

The language is ``$AGON_LANG``, else ``$LC_ALL``, ``$LC_MESSAGES``, ``$LANG`` (the first that is set, as POSIX says);
anything that starts with ``zh`` is Chinese, everything else English. A template without a translation is shown in
English: a missing string never stops a run.
"""

import json
import os
from contextvars import ContextVar
from functools import cache
from pathlib import Path

spoken: ContextVar[str | None] = ContextVar("spoken", default=None)
"""The language of whoever is being answered, where that is not the environment's: a server sets it for each request."""


def language() -> str:
    """``"zh_CN"`` or ``"en"``: :data:`spoken`, else read from the environment at every call (it costs a microsecond and a
    test can change it).
    """
    if (asked := spoken.get()) is not None:
        return asked
    for variable in ("AGON_LANG", "LC_ALL", "LC_MESSAGES", "LANG"):
        value = os.environ.get(variable, "")
        if value:
            return "zh_CN" if value.lower().startswith("zh") else "en"
    return "en"


@cache
def catalogue(name: str) -> dict[str, str]:
    """The table of one language, English template -> translated template (empty for English)."""
    path = Path(__file__).with_name(f"{name}.json")
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def translate(template: str) -> str:
    """The template in the user's language, with the same ``{fields}``; the template itself where there is no
    translation.
    """
    return catalogue(language()).get(template, template)
