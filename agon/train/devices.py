"""Where and in which precision to compute, by asking what is there."""

from __future__ import annotations

import ctypes
import platform
import sys
from pathlib import Path

import torch

from agon.errors import UserError


def pick_device(name: str | None = None) -> torch.device:
    """``name`` or the best there is: cuda, xpu or mps where torch can use them, else cpu. Raises UserError where ``name`` is not there."""
    if name:
        try:
            device = torch.device(name)
            torch.empty(0, device=device)
        except (RuntimeError, AssertionError, NotImplementedError) as error:
            raise UserError(
                "The device '{device}' cannot be used: {why}. Expected cpu, or one that torch finds here, such as cuda:0: see 'agon doctor'.",
                device=name, why=str(error).partition("\n")[0].rstrip("."),
            ) from None  # fmt: skip
        return device
    if torch.accelerator.is_available():
        return torch.device(torch.accelerator.current_accelerator())
    return torch.device("cpu")


def has_bf16(device: torch.device) -> bool:
    """Whether bfloat16 is computed natively: emulated, it is slower than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        flags = _cpu_flags()
        return bool(flags & {"avx512_bf16", "amx_bf16", "bf16"})
    return False


def resolve_precision(wanted: str, device: torch.device) -> str:
    """``wanted``, or "fp32" where the device has no native bf16."""
    return "fp32" if wanted == "bf16" and not has_bf16(device) else wanted


def keep_freed_memory() -> bool:
    """Tell glibc to keep large freed blocks instead of returning them to the kernel after every operation.

    A training step frees and takes the same blocks over and over; without this up to a fifth of a CPU step goes into page faults.
    Returns whether it was done (Linux with glibc).
    """
    if platform.system() != "Linux" or platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
    return bool(libc.mallopt(M_MMAP_MAX, 0) and libc.mallopt(M_TRIM_THRESHOLD, -1))


def seed_everything(seed: int, device: torch.device) -> None:
    """Seed what layers draw from (dropout). ``torch.manual_seed`` would, on a machine without CUDA, queue a call and a stack trace each time."""
    torch.default_generator.manual_seed(seed)
    if device.type != "cpu":
        getattr(torch, device.type).manual_seed(seed)


def peak_memory_mb(device: torch.device) -> float:
    """The most memory used so far: of this process on a CPU, of torch's allocator on an accelerator; 0 where it is not known."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    try:
        import resource
    except ImportError:  # Windows
        return 0.0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def _cpu_flags() -> set[str]:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return set()
    return {flag for line in text.splitlines() if line.startswith(("flags", "Features")) for flag in line.split(":", 1)[1].split()}
