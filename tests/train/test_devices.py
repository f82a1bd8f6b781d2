"""What is asked of the machine is what it says itself."""

import platform
from pathlib import Path

import pytest
import torch

from agon.errors import UserError
from agon.train import devices

CPU = torch.device("cpu")


def test_a_named_device_is_taken():
    assert devices.pick_device("cpu") == CPU


def test_without_a_name_the_best_there_is():
    best = devices.pick_device()
    assert best.type == (torch.accelerator.current_accelerator().type if torch.accelerator.is_available() else "cpu")
    torch.zeros(1, device=best)


@pytest.mark.parametrize("name", ["graphics", "cpu:x", "cuda:99"])
def test_a_device_that_is_not_there_is_an_error_that_helps(name):
    with pytest.raises(UserError, match=f"'{name}' cannot be used.*agon doctor") as error:
        devices.pick_device(name)
    assert "\n" not in str(error.value)


def test_bf16_falls_back_where_the_processor_has_none():
    assert devices.resolve_precision("bf16", CPU) == ("bf16" if devices.has_bf16(CPU) else "fp32")
    assert devices.resolve_precision("bf16", torch.device("mps")) == "fp32"
    assert devices.resolve_precision("fp16", CPU) == "fp16" and devices.resolve_precision("fp32", CPU) == "fp32"


@pytest.mark.skipif(not Path("/proc/cpuinfo").exists(), reason="the kernel says nothing here")
def test_bf16_is_what_the_kernel_lists():
    words = set(Path("/proc/cpuinfo").read_text().split())
    assert devices.has_bf16(CPU) == bool(words & {"avx512_bf16", "amx_bf16", "bf16"})


@pytest.mark.parametrize("flags, has", [("fpu sse2 avx512f avx512_bf16", True), ("fpu amx_bf16", True), ("fp asimd bf16 i8mm", True),
    ("fpu sse2 avx512f avx2", False), ("", False)])
def test_which_flags_mean_bf16(monkeypatch, flags, has):
    """x86 lists flags, ARM features; a processor with none of them emulates, which is slower than float32."""
    monkeypatch.setattr(devices, "_cpu_flags", lambda: set(flags.split()))
    assert devices.has_bf16(CPU) is has
    assert devices.resolve_precision("bf16", CPU) == ("bf16" if has else "fp32")


def test_keeping_freed_memory_says_whether_it_could():
    assert devices.keep_freed_memory() is (platform.system() == "Linux" and platform.libc_ver()[0] == "glibc")
