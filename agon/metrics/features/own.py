"""A user's own extractor: a TorchScript file, a function in a Python file, an nn.Module or any callable.

Files are executed: a Python file as Python, a TorchScript file by torch's interpreter. That happens because the user named them, and never otherwise; both
come with their SHA-256 in the protocol (of the one file: what it imports or reads is not in it). What the thing gets is RGB pictures, (n, 3, H, W) on
``device``, in the range asked for; (samples of another kind come as they
are, float32); what it returns is (n, d), or maps (n, d, ...) that are averaged over their positions, finite, one row a picture.
"""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from agon.data.cache import sha256_of
from agon.errors import Unavailable, UserError
from agon.metrics.features.base import Extractor, as_rgb
from agon.metrics.features.pillow import precision_of

NAMES = {}  # its name is what the user names: net.pt, net.py:embed
INPUTS = ("uint8", "minus_one_to_one", "zero_to_one")


class Own(Extractor):
    """``function``: called with pictures in the range ``input``. How many features it gives, ``layers["features"]``, is 0 until its first answer."""

    kind = "*"

    def __init__(
        self, function: Callable[[Tensor], Any], *, name: str, sha256: str, input: str = "zero_to_one", device: str = "cpu", precision: str = "fp32"
    ) -> None:
        if input not in INPUTS:
            raise UserError("There is no range of pictures '{input}'. Expected 'uint8' (0 to 255), 'minus_one_to_one' or 'zero_to_one': choose.", input=input)
        self.name, self.sha256, self.input, self.device, self.dtype = name, sha256, input, device, precision_of(precision)
        self.function = function.to(device).eval() if isinstance(function, nn.Module) else function
        self.protocol = {"resize": "the extractor's own", "precision": precision, "input": input, "output": "its own; maps are averaged over their positions"}
        self.layers = {"features": 0}
        self.cached = bool(sha256)  # of a function nothing is known by which its features could be found again

    def _in_range(self, samples: Tensor) -> Tensor:
        """Pictures as RGB in the range asked for; anything else as it is."""
        if samples.dtype != torch.uint8 or samples.ndim != 4:
            return samples.to(self.device)
        pictures = as_rgb(samples).to(self.device)
        if self.input == "uint8":
            return pictures
        pictures = pictures.float().div_(255)
        return pictures.mul_(2).sub_(1) if self.input == "minus_one_to_one" else pictures

    @torch.inference_mode()
    def run(self, samples: Tensor, layers: Sequence[str] = ("features",)) -> dict[str, Tensor]:
        """uint8 (N, 1, 3 or 4, H, W), or float32 (N, *shape) of another kind -> {"features": float32 (N, d)}.

        Raises Unavailable where the function fails, UserError where it gives no features.
        """
        if isinstance(samples, list):
            raise Unavailable("The extractor {name} cannot be given samples of different lengths. Expected samples of one shape.", name=self.name)
        pictures = self._in_range(samples)
        try:
            with torch.autocast(self.device.split(":")[0], self.dtype, enabled=self.dtype != torch.float32):
                answer = self.function(pictures)
        except Exception as error:  # the user's code: whatever it raises is theirs to know
            raise Unavailable("The extractor {name} failed on pictures {shape} ({kind}: {why}). Expected (n, d) features: mend it, or resize them in it.",
                              name=self.name, shape=tuple(pictures.shape), kind=type(error).__name__, why=last_line(error)) from error
        features, known = rows(answer, len(samples), self.name), self.layers["features"]
        if known and features.shape[1] != known:
            raise UserError("The extractor {name} gave {found} numbers a picture, and {first} before. Expected always as many: average its maps, or resize the "
                            "pictures in it.", name=self.name, found=features.shape[1], first=known)
        self.layers["features"] = features.shape[1]
        return {"features": features}


def rows(answer: Any, count: int, name: str) -> Tensor:
    """What an extractor returned -> float32 (count, d) on the CPU. The first of a tuple or list is taken. Raises UserError for anything else."""
    if isinstance(answer, (tuple, list)) and answer:
        answer = answer[0]
    try:
        features = torch.as_tensor(answer).detach().to("cpu", torch.float32)
    except (TypeError, ValueError, RuntimeError):
        raise UserError("The extractor {name} returned a {kind}. Expected a tensor (n, d), one row a picture: return that.", name=name,
                        kind=type(answer).__name__) from None
    if features.ndim > 2:
        features = features.flatten(2).mean(2)
    if features.ndim != 2 or len(features) != count or not features.shape[1]:
        raise UserError("The extractor {name} returned the shape {shape} for {count} pictures. Expected ({count}, d), one row a picture: return that.",
                        name=name, shape=tuple(features.shape), count=count)
    if not features.isfinite().all():
        raise UserError("The extractor {name} returned values that are not finite. Expected finite numbers: mend it, or try precision fp32.", name=name)
    return features


def own_extractor(thing: str | Path | Callable[[Tensor], Any], name: str = "", input: str = "", *, device: str = "cpu", precision: str = "fp32") -> Own:
    """An extractor from ``thing``: "net.pt" (TorchScript), "net.py:embed" ("embed" if left out), an nn.Module or any callable.

    ``name``: for the protocol, else the file's or the function's. ``input``: "uint8", "minus_one_to_one" or "zero_to_one"; where it is left out, the callable's
    attribute ``input`` decides, else "zero_to_one". A class found in a Python file is called without arguments first. Raises UserError where it cannot be had.
    """
    if isinstance(thing, (str, Path)):
        path, function = read(str(thing), device)
        name, sha256 = name or str(thing), sha256_of(path)
    else:
        function, sha256 = thing, fingerprint(thing)
        name = name or getattr(thing, "__name__", type(thing).__name__)
    if not callable(function):
        raise UserError("{name} is a {kind}. Expected a function that takes pictures (n, 3, H, W) and returns (n, d): name one.", name=name,
                        kind=type(function).__name__)
    return Own(function, name=name, sha256=sha256, input=input or getattr(function, "input", "zero_to_one"), device=device, precision=precision)


def read(spec: str, device: str) -> tuple[Path, Callable[[Tensor], Any]]:
    """(the file, what it holds) of "net.pt", "net.py" or "net.py:embed". Executes the file."""
    head, mark, attribute = spec.rpartition(":")
    file, attribute = (head, attribute) if mark and head.endswith(".py") else (spec, "embed")
    path = Path(file).expanduser()
    if not path.is_file():
        raise UserError("There is no {path}. Expected your extractor: a TorchScript file (net.pt) or a function in a Python file (net.py:embed).", path=path)
    if path.suffix != ".py":
        try:
            return path, torch.jit.load(path, map_location=device)
        except RuntimeError as error:
            raise UserError("{path} is not a TorchScript file ({why}). Expected what torch.jit.save writes: save it so, or give a function: net.py:embed.",
                            path=path, why=str(error).strip().splitlines()[0]) from None
    module_spec = importlib.util.spec_from_file_location(f"agon_own_{path.stem}", path)
    module = importlib.util.module_from_spec(module_spec)
    try:
        module_spec.loader.exec_module(module)
    except Exception as error:  # the user's code: whatever it raises is theirs to know
        raise UserError("{path} could not be run ({kind}: {why}). Expected a Python file with a function '{attribute}': mend it.", path=path,
                        kind=type(error).__name__, why=last_line(error), attribute=attribute) from error
    if not hasattr(module, attribute):
        raise UserError("{path} has no '{attribute}'. Expected a function of that name: name another as {path}:NAME.", path=path, attribute=attribute)
    found = getattr(module, attribute)
    return path, found() if inspect.isclass(found) else found


def last_line(error: Exception) -> str:
    """What an error says, on one line: TorchScript's say it after a traceback of their own."""
    return (str(error).strip().splitlines() or [""])[-1]


def fingerprint(thing: object) -> str:
    """SHA-256 of an nn.Module's names, shapes and values; "" for any other object, of which nothing can be known."""
    if not isinstance(thing, nn.Module):
        return ""
    digest = hashlib.sha256()
    for name, value in sorted(thing.state_dict().items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)};".encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def open_extractor(name: str, *, weights: Path | None = None, device: str = "cpu", precision: str = "fp32") -> Own:
    """``name``: "net.pt" or "net.py:embed". Raises UserError as ``own_extractor`` does."""
    return own_extractor(str(weights) if weights is not None else name, name, device=device, precision=precision)
