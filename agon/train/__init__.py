"""The only training loop, and what it stands on.

``agon.train(...)`` is the function :func:`agon.run.train` and ``agon.train.trainer`` a module below this package: the package can be called.
"""

import sys
from types import ModuleType


class _CallablePackage(ModuleType):
    def __call__(self, *args, **options):
        from agon.run import train

        return train(*args, **options)


sys.modules[__name__].__class__ = _CallablePackage
