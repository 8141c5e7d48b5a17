"""Run manifest: which code, machine and libraries made a result, and how long it took."""

import hashlib
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

LIBRARIES = (
    "torch",
    "torchvision",
    "timm",
    "transformers",
    "tokenizers",
    "numpy",
    "pandas",
    "scikit-learn",
    "segmentation-models-pytorch",
)


class RunClock:
    """Start of a run in wall-clock time and on a monotonic clock."""

    def __init__(self) -> None:
        self.started = datetime.now(UTC)
        self._start = time.perf_counter()

    def seconds(self) -> float:
        """Return the seconds since the clock was made."""
        return time.perf_counter() - self._start


def run_manifest(clock: RunClock, **extra: Any) -> dict[str, Any]:
    """Describe the run that `clock` timed; `extra` entries (steps per second, …) are added as they are."""
    return {
        "started": clock.started.isoformat(timespec="seconds"),
        "seconds": round(clock.seconds(), 3),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "code": commit(),
        "python": platform.python_version(),
        "libraries": {name: version for name in LIBRARIES if (version := _version(name))},
        "hardware": _hardware(),
        "peak_memory_mib": peak_memory_mib(),
        **extra,
    }


def hash_patients(keys: Iterable[str]) -> list[str]:
    """Return the sorted hashes of patient keys `<family>:<patient>`, to find shared patients."""
    return sorted({hashlib.sha256(key.encode()).hexdigest()[:16] for key in keys})


def commit() -> dict[str, Any]:
    """Return the Git commit of the code and whether tracked files differ from it; None outside Git."""
    folder = Path(__file__).resolve().parent
    try:
        head = _git(folder, "rev-parse", "HEAD")
        dirty = bool(_git(folder, "status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.CalledProcessError):
        return {"commit": None, "dirty": None}
    return {"commit": head, "dirty": dirty}


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _hardware() -> dict[str, Any]:
    hardware: dict[str, Any] = {
        "machine": platform.machine(),
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "threads": os.environ.get("OMP_NUM_THREADS"),
    }
    torch = sys.modules.get("torch")  # runs that never needed torch must not pay for its import
    if torch is not None and torch.cuda.is_available():
        hardware["gpu"] = torch.cuda.get_device_name(0)
        hardware["gpu_peak_memory_mib"] = round(torch.cuda.max_memory_allocated() / 2**20)
    return hardware


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")


def peak_memory_mib(device: str = "cpu") -> int:
    """Return the most memory that this process has held so far, of the GPU if `device` is `cuda`."""
    if device == "cuda":
        import torch

        return round(torch.cuda.max_memory_allocated() / 2**20)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10))
