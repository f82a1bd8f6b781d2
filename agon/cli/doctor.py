"""Check this machine: device, versions, memory, precision, and what is missing with the command that mends it.

Exit code 0 when Agon can train here, 1 when something it cannot do without is missing.
"""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import shutil
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from agon.cli import Parser
from agon.locale import translate

# module -> (distribution, what it is for); what the first table misses stops training, what the second misses only its
# feature.
NEEDED = {
    "torch": ("torch", "training"),
    "numpy": ("numpy", "data"),
    "PIL": ("pillow", "pictures"),
    "safetensors": ("safetensors", "checkpoints"),
    "pydantic": ("pydantic", "configuration"),
    "yaml": ("pyyaml", "configuration files"),
    "tqdm": ("tqdm", "progress bars"),
}
OPTIONAL = {"sklearn": ("scikit-learn", "the digits data set"), "tensorboard": ("tensorboard", "--tensorboard")}
LOW_MEMORY_GB, LOW_DISK_GB = (
    2.0,
    2.0,
)  # below the first a real preset swaps; below the second a few checkpoints do not fit
GB = 1e9


def main(argv: list[str]) -> int:
    parser = Parser(
        prog="agon doctor",
        description=translate(
            "Check this machine: device, versions, memory, precision, and what is missing "
            "with the command that mends it."
        ),
    )
    parser.add_argument("--json", action="store_true", help=translate("one JSON object on stdout"))
    options = parser.parse_args(argv)
    findings = examine()
    print(json.dumps(findings, ensure_ascii=False, indent=2) if options.json else render(findings))
    return 0 if findings["ready"] else 1


def examine() -> dict[str, Any]:
    """What was found, as plain types. ``problems`` is a list of {"what", "mend", "stops"}; ``ready`` is whether
    training is possible.
    """
    from agon import __version__

    findings: dict[str, Any] = {
        "agon": __version__,
        "python": platform.python_version(),
        "system": platform.platform(terse=True),
        "cores": cores(),
        "memory_gb": memory_gb(),
        "disk_free_gb": round(shutil.disk_usage(Path.cwd()).free / GB, 1),
    }
    findings["packages"] = {name: _version(name) for name, _ in (*NEEDED.values(), *OPTIONAL.values())}
    findings["torch"] = _torch()
    findings["problems"] = _problems(findings)
    findings["ready"] = not any(problem["stops"] for problem in findings["problems"])
    return findings


def cores() -> float:
    """CPU cores this process may use: the affinity mask, and the quota of a container (which may be a fraction)."""
    count = float(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    quota = _read("/sys/fs/cgroup/cpu.max").split()
    if len(quota) == 2 and quota[0].isdigit():
        count = min(count, int(quota[0]) / int(quota[1]))
    return round(count, 2)


def memory_gb() -> float | None:
    """Main memory this process may use, in 1e9 bytes: the machine's or the container's, whichever is less. None where
    it cannot be told.
    """
    sizes = []
    if "SC_PHYS_PAGES" in getattr(os, "sysconf_names", {}):
        sizes.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    limit = _read("/sys/fs/cgroup/memory.max").strip()
    if limit.isdigit():
        sizes.append(int(limit))
    return round(min(sizes) / GB, 1) if sizes else None


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def _torch() -> dict[str, Any] | None:
    """Devices and precisions; None when torch is missing, {"error": ...} when it is there and does not import."""
    if importlib.util.find_spec("torch") is None:
        return None
    try:
        import torch
    except Exception as error:  # a broken installation may raise anything (OSError for a missing library is usual)
        return {"error": f"{type(error).__name__}: {error}".split("\n", 1)[0]}
    from agon.train.devices import has_bf16  # what training asks, so that both say the same

    devices = []
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        devices.append(
            {
                "device": f"cuda:{index}",
                "name": properties.name,
                "memory_gb": round(properties.total_memory / GB, 1),
                "bf16_native": has_bf16(torch.device("cuda", index)),
            }
        )
    if torch.backends.mps.is_available():
        devices.append({"device": "mps", "name": "Apple GPU", "bf16_native": False})
    devices.append(
        {
            "device": "cpu",
            "name": _processor(),
            "bf16_native": has_bf16(torch.device("cpu")),
            "vectors": torch.backends.cpu.get_cpu_capability(),
        }
    )
    return {
        "version": torch.__version__,
        "cuda_build": torch.version.cuda,
        "threads": torch.get_num_threads(),
        "devices": devices,
    }


def _processor() -> str:
    for line in _read("/proc/cpuinfo").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _problems(findings: dict[str, Any]) -> list[dict[str, Any]]:
    problems = []
    for table, stops in ((NEEDED, True), (OPTIONAL, False)):
        for module, (distribution, purpose) in table.items():
            if importlib.util.find_spec(module) is None:
                what = translate("{package} is not installed (needed for {purpose})").format(
                    package=distribution, purpose=purpose
                )
                problems.append({"what": what, "mend": f"{_pip()} install {distribution}", "stops": stops})
    torch = findings["torch"]
    if torch is not None and "error" in torch:
        problems.append(
            {
                "what": translate("torch does not import: {error}").format(error=torch["error"]),
                "mend": f"{_pip()} install --force-reinstall torch",
                "stops": True,
            }
        )
    if findings["memory_gb"] is not None and findings["memory_gb"] < LOW_MEMORY_GB:
        problems.append(
            {
                "what": translate("only {size} GB of memory").format(size=findings["memory_gb"]),
                "mend": translate("train with a smaller --micro_batch_size"),
                "stops": False,
            }
        )
    if findings["disk_free_gb"] < LOW_DISK_GB:
        problems.append(
            {
                "what": translate("only {size} GB free on this disk").format(size=findings["disk_free_gb"]),
                "mend": translate("choose --out on another disk"),
                "stops": False,
            }
        )
    if shutil.which("nvidia-smi") and torch and not torch.get("cuda_build") and "error" not in torch:
        problems.append(
            {
                "what": translate("there is an NVIDIA card, but torch is the CPU build"),
                "mend": f"{_pip()} install --force-reinstall torch",
                "stops": False,
            }
        )
    return problems


def _pip() -> str:
    return f"{sys.executable} -m pip"


def render(findings: dict[str, Any]) -> str:
    """The findings for a terminal."""
    torch = findings["torch"] or {}
    memory = "?" if findings["memory_gb"] is None else f"{findings['memory_gb']:g} GB"
    rows = [
        ("agon", findings["agon"]),
        ("python", findings["python"]),
        ("torch", torch.get("version") or translate("missing")),
        (translate("system"), findings["system"]),
        (translate("cores"), f"{findings['cores']:g}"),
        (translate("memory"), memory),
        (translate("disk free"), f"{findings['disk_free_gb']:g} GB"),
    ]
    for device in torch.get("devices", []):
        fast = (
            translate("bf16 in hardware")
            if device["bf16_native"]
            else translate("no bf16 in hardware: float32 is used")
        )
        size = f", {device['memory_gb']:g} GB" if "memory_gb" in device else ""
        rows.append((device["device"], f"{device['name']}{size}, {fast}"))
    width = max(len(name) for name, _ in rows)
    lines = [f"  {name:<{width}}  {value}" for name, value in rows]
    for problem in findings["problems"]:
        lines += [f"{'✗' if problem['stops'] else '!'} {problem['what']}", f"    {problem['mend']}"]
    lines.append(translate("Agon can train here.") if findings["ready"] else translate("Agon cannot train here yet."))
    return "\n".join(lines)
