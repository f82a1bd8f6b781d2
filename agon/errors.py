"""The one error that tells a user what to do: what happened, what was expected, how to mend it."""

from agon.locale import translate


class UserError(ValueError):
    """Wrong usage or unusable input. The command line prints it as one line on stderr and leaves with exit code 2.

    ``template`` is a plain string literal with ``{name}`` fields (so that agon/locale can translate it); ``values`` fill them.
    """

    def __init__(self, template: str, **values: object):
        self.template, self.values = template, values
        super().__init__(translate(template).format(**values))
