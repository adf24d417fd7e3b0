"""Check of machine and installation: versions, devices, threads, filters, disks, plugins; what is slow or missing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ptycho_cli.data.memory import free_memory, physical_memory
from ptycho_cli.training.run_record import versions

if TYPE_CHECKING:
    from ptycho_cli.extend.host import Host

State = Literal["ok", "slow", "missing"]
DISTRIBUTION = "ptycho-cli"
_GIB = 2.0**30
_LITTLE_DISK_GIB, _SLOW_WRITE_S, _WRITE_MIB = 2.0, 2.0, 8
_SLOW_TORCH_S, _LONGEST_TORCH_S = 15.0, 120.0
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
# Filters of HDF5 by name; those above 32000 come from the package hdf5plugin.
_FILTERS = {
    "gzip": 1, "lzf": 32000, "bitshuffle": 32008, "lz4": 32004, "blosc": 32001, "blosc2": 32026, "zstd": 32015,
}  # fmt: skip
# Runs in another process, so that a torch that crashes or hangs cannot do so here.
_TORCH = """
import json, time
start = time.perf_counter()
import torch
seconds = time.perf_counter() - start
devices = [
    {"kind": "gpu", "name": torch.cuda.get_device_name(i), "memory_gib": torch.cuda.mem_get_info(i)[1] / 2**30}
    for i in range(torch.cuda.device_count())
] if torch.cuda.is_available() else []
if torch.backends.mps.is_available():
    devices.append({"kind": "mps", "name": "Apple GPU"})
print(json.dumps({
    "version": torch.__version__, "built_for": torch.version.cuda or torch.version.hip, "devices": devices,
    "threads": torch.get_num_threads(), "mkl": torch.backends.mkl.is_available(), "seconds": seconds,
}))
"""


@dataclass(frozen=True)
class Check:
    """Outcome of one check.

    Attributes:
        name: The subject, in a word or two.
        state: ``ok``; ``slow``: it works, but costs time or may fail soon; ``missing``: something cannot work.
        found: What was found.
        hint: The way out; empty where there is nothing to do.
    """

    name: str
    state: State
    found: str
    hint: str = ""


def check_system(host: Host, *, with_torch: bool = True) -> tuple[list[Check], dict[str, Any]]:
    """Check everything.

    Args:
        host: The installed plugins.
        with_torch: Also load torch, in another process, to find its devices.

    Returns:
        The checks, and what was found as plain values.
    """
    process = _started_torch() if with_torch else None
    found: dict[str, Any] = {
        "versions": versions(), "executable": sys.executable, "cores": usable_cores(),
        "load": _load(), "threads": {name: os.environ[name] for name in _THREADS if name in os.environ},
        "memory_gib": {"all": (physical_memory() or 0) / _GIB, "free": free_memory() / _GIB},
        "hdf5": hdf5_filters(), "plugins": [plugin.as_json() for plugin in host.plugins],
        "disks": {str(place): shutil.disk_usage(place).free / _GIB for place in _places()},
    }  # fmt: skip
    found["torch"] = None if process is None else _torch_of(process)
    checks = [
        *_packages(), *([] if found["torch"] is None else _torch(found["torch"])), *_processor(found),
        *_filters(found["hdf5"]), *_disks(found["disks"]), *_caches(), *_plugins(found["plugins"]),
    ]  # fmt: skip
    return checks, found


def usable_cores() -> float:
    """Cores that this process may use: those it is bound to, and the share that a container or job allows."""
    bound = float(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return bound if quota == "max" else min(bound, int(quota) / int(period))
    except (OSError, ValueError):
        return bound


def hdf5_filters() -> dict[str, Any]:
    """Version of HDF5 and whether each filter for compressed frames can be used."""
    import h5py
    import hdf5plugin  # noqa: F401 - registers its filters

    available = {name: bool(h5py.h5z.filter_avail(number)) for name, number in _FILTERS.items()}
    return {"version": h5py.version.hdf5_version, "filters": available}


def _load() -> float | None:
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):
        return None


def _places() -> list[Path]:
    return list(dict.fromkeys((Path.cwd(), Path(tempfile.gettempdir()))))


def _packages() -> list[Check]:
    """Every package that this program needs, in a version that it accepts."""
    from packaging.requirements import Requirement

    try:
        every = [Requirement(line) for line in requires(DISTRIBUTION) or ()]
    except PackageNotFoundError:
        return [Check("packages", "missing", "the program runs without being installed", "pip install ptycho-cli")]
    needed = [item for item in every if item.marker is None or item.marker.evaluate({"extra": ""})]
    checks = []
    for item in needed:
        hint = f"pip install '{item}'"
        try:
            installed = version(item.name)
        except PackageNotFoundError:
            checks.append(Check(item.name, "missing", "not installed", hint))
            continue
        if not item.specifier.contains(installed, prereleases=True):
            checks.append(Check(item.name, "missing", f"{installed}, expected {item.specifier}", hint))
    known = versions()
    text = ", ".join(f"{name} {known[name]}" for name in (DISTRIBUTION, "python") if name in known)
    return checks or [Check("packages", "ok", f"{text}; {len(needed)} requirements are met")]


def _started_torch() -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", _TORCH], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )  # fmt: skip


def _torch_of(process: subprocess.Popen[str]) -> dict[str, Any]:
    """What torch found, or ``error``."""
    try:
        out, errors = process.communicate(timeout=_LONGEST_TORCH_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return {"error": f"it did not load within {_LONGEST_TORCH_S:g} s"}
    if process.returncode:
        last = (errors.strip().splitlines() or [f"exit code {process.returncode}"])[-1]
        return {"error": last}
    result: dict[str, Any] = json.loads(out.splitlines()[-1])
    return result


def _torch(torch: Mapping[str, Any]) -> list[Check]:
    if "error" in torch:
        hint = "Install torch again; `pip check` shows packages that do not fit together."
        return [Check("torch", "missing", str(torch["error"]), hint)]
    checks, seconds = [], torch["seconds"]
    text = f"{torch['version']}, {torch['threads']} threads, loads in {seconds:.1f} s"
    if seconds > _SLOW_TORCH_S:
        hint = "On a network disk, copy the environment to a local one. A busy machine is slow, too."
        checks.append(Check("torch", "slow", text, hint))
    else:
        checks.append(Check("torch", "ok", text))
    names = [f"{device['kind']}: {device['name']}" for device in torch["devices"]]
    if names:
        checks.append(Check("devices", "ok", ", ".join([*names, "cpu"])))
    elif torch["built_for"]:
        hint = "Check the driver (nvidia-smi), CUDA_VISIBLE_DEVICES, and that the job asked for a GPU."
        checks.append(Check("devices", "slow", f"cpu only, but torch is built for {torch['built_for']}", hint))
    else:
        hint = "With a GPU, install the build of torch that the selector on pytorch.org names."
        checks.append(Check("devices", "ok", "cpu only; torch is built without a GPU", hint))
    return checks


def _processor(found: Mapping[str, Any]) -> list[Check]:
    """Threads beside cores, load and memory."""
    cores, load, memory = found["cores"], found["load"], found["memory_gib"]
    threads = found["threads"]
    text = f"{cores:g} cores" + "".join(f", {name}={value}" for name, value in threads.items())
    count = (found["torch"] or {}).get("threads") or _whole(threads.get("OMP_NUM_THREADS"))
    checks = []
    if count is not None and count > cores:
        hint = f"export OMP_NUM_THREADS={max(1, int(cores))}"
        checks.append(Check("threads", "slow", f"{count} threads on {text}: they wait for each other", hint))
    else:
        checks.append(Check("threads", "ok", text))
    if load is not None and load > 1.5 * cores:
        checks.append(Check("load", "slow", f"{load:.1f} on {cores:g} cores", "Other programs use this machine."))
    size = f"{memory['free']:.1f} of {memory['all']:.1f} GiB are free"
    checks.append(Check("memory", "ok", f"{size}; frames take at most half of it (data.memory_budget_gib)"))
    return checks


def _whole(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdigit() else None


def _filters(hdf5: Mapping[str, Any]) -> list[Check]:
    lacking = [name for name, available in hdf5["filters"].items() if not available]
    text = f"HDF5 {hdf5['version']}, filters {', '.join(name for name in hdf5['filters'] if name not in lacking)}"
    if lacking:
        return [
            Check("hdf5", "missing", f"{text}; not {', '.join(lacking)}", "pip install --force-reinstall hdf5plugin")
        ]
    return [Check("hdf5", "ok", text)]


def _disks(disks: Mapping[str, float]) -> list[Check]:
    checks = []
    for place, free in disks.items():
        little = free < _LITTLE_DISK_GIB
        hint = "Free some space, or choose another folder with -o (TMPDIR for the temporary one)." * little
        checks.append(Check("disk", "slow" if little else "ok", f"{place}: {free:.1f} GiB free", hint))
    seconds = _write_seconds(Path(next(iter(disks))))
    if seconds is None:
        checks.append(Check("disk", "slow", f"{next(iter(disks))} cannot be written", "Choose a folder with -o."))
    elif seconds > _SLOW_WRITE_S:
        text = f"{next(iter(disks))}: writing {_WRITE_MIB} MiB took {seconds:.1f} s"
        checks.append(
            Check("disk", "slow", text, "Choose a folder on a local disk with -o, or write fewer checkpoints.")
        )
    return checks


def _write_seconds(folder: Path) -> float | None:
    """Seconds to write a small file in a folder, which is removed again; None where it cannot be written."""
    start = time.perf_counter()
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(_WRITE_MIB * 2**20))
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        return None
    return time.perf_counter() - start


def _caches() -> list[Check]:
    """Folders without which every start is slow."""
    checks = []
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = Path(os.environ.get("MPLCONFIGDIR") or cache / "matplotlib")
    nearest = next((place for place in (folder, *folder.parents) if place.exists()), folder)
    if not os.access(nearest, os.W_OK):
        hint = "Set MPLCONFIGDIR to a folder that can be written."
        checks.append(Check("fonts", "slow", f"{folder} cannot be written: each first picture takes seconds", hint))
    compiled = Path(__file__).parent / "__pycache__"
    if sys.dont_write_bytecode or (not compiled.exists() and not os.access(compiled.parent, os.W_OK)):
        hint = "Unset PYTHONDONTWRITEBYTECODE, or set PYTHONPYCACHEPREFIX to a folder that can be written."
        checks.append(Check("start-up", "slow", "compiled modules are not kept, so every start compiles them", hint))
    return checks


def _plugins(plugins: Sequence[Mapping[str, Any]]) -> list[Check]:
    checks = []
    for plugin in plugins:
        title = f"{plugin['distribution']} {plugin['version']}"
        if plugin["status"] == "loaded":
            checks.append(Check("plugin", "ok", title))
        else:
            text = f"{title}: {plugin['status']}{': ' + plugin['error'] if plugin.get('error') else ''}"
            hint = plugin.get("hint") or "`ptycho plugins check` says more; --no-plugin leaves it out."
            checks.append(Check("plugin", "missing" if plugin["status"] == "failed" else "ok", text, hint))
    return checks
