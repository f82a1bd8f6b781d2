"""The one error that tells a user what to do: what happened, what was expected, how to mend it."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

from agon.locale import translate


class UserError(ValueError):
    """Wrong usage or unusable input. The command line prints it as one line on stderr and leaves with exit code 2.

    ``template`` is a plain string literal with ``{name}`` fields (so that agon/locale can translate it); ``values`` fill them.
    """

    def __init__(self, template: str, **values: object):
        self.template, self.values = template, values
        super().__init__(translate(template).format(**values))


class Unavailable(UserError):
    """One thing of several cannot be had here and now (weights that are not there, an optional library, too few samples); the rest goes on without it.

    The message carries the command that mends it.
    """


@contextmanager
def writing(path: object) -> Iterator[None]:
    """Around what writes ``path``, a place that the user named: where nobody may write there, that is wrong usage and no failure of the run."""
    try:
        yield
    except (PermissionError, FileExistsError, FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        why = os.strerror(errno.ENOTDIR if isinstance(error, FileExistsError) else error.errno)  # mkdir below a file says that it exists
        raise UserError("{path} cannot be written: {why}. Expected a place where files may be made: mend it, or choose another.", path=path, why=why) from None
