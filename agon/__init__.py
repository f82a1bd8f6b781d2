"""Agon: generative adversarial networks, one file per game. Importing this package does not import torch."""

from importlib import import_module

__version__ = "0.1.0"
__all__ = ["Game", "Run", "UserError", "evaluate", "load", "open_dataset", "train"]

_LAZY = {
    "Game": "agon.game",
    "Run": "agon.run",
    "UserError": "agon.errors",
    "evaluate": "agon.run",
    "load": "agon.run",
    "open_dataset": "agon.data",
}


def __getattr__(name: str):
    if name == "train":  # the package of that name is callable: importing it later must not change what agon.train is
        return import_module("agon.train")
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'agon' has no attribute {name!r}")
