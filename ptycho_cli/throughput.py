"""Throughput of training and inference on simulated frames, and the parts that the time goes to."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ptycho_cli.config.earlier_run import config_layer
from ptycho_cli.config.provenance import Resolved, Source
from ptycho_cli.config.resolve import resolve
from ptycho_cli.config.serialize import config_to_json
from ptycho_cli.config.sources import library_layer
from ptycho_cli.extend.host import Host
from ptycho_cli.progress_callback import StageProgress
from ptycho_cli.training.training_events import Events

WARM_UP = 2  # steps before the clock starts
# Words in the names of torch's operations, by the part that they belong to; the first part that fits counts.
PARTS = {
    "FFT": ("fft",),
    "CNN": ("conv", "silu", "relu", "pixel_", "upsample", "mkldnn", "cudnn", "pool"),
    "gather and scatter": ("index", "gather", "scatter", "roll", "put_"),
    "optimizer": ("adam", "_foreach", "addcdiv", "lerp"),
    "copies": ("copy", "clone", "contiguous", "aten::cat", "aten::stack", "aten::pad", "aten::fill", "aten::zero"),
}
ARITHMETIC, OUTSIDE = "physics and likelihood, pixel by pixel", "Python, Lightning, reading, logging"


@dataclass(frozen=True)
class Workload:
    """Simulated frames to measure with.

    Attributes:
        frames: Number of frames.
        size: Pixels along one side of a frame.
        modes: Probe modes.
        steps: Optimizer steps that are timed.
    """

    frames: int = 256
    size: int = 64
    modes: int = 1
    steps: int = 10


@dataclass(frozen=True)
class Throughput:
    """What was measured with one set of settings.

    Attributes:
        device: Where it ran.
        read_frames_per_s: Frames of a file read and checked.
        step_ms: An optimizer step, wall time, median.
        train_frames_per_s: Frames of the groups of a step, over its time.
        parts_ms: Time of a step by part; on a GPU, its kernels, and the rest is the time that it waits.
        times_fft: Time of a step over the time of its FFTs.
        infer_frames_per_s: Frames of a whole scan over the time of its reconstruction, without polish.
        peak_memory_mib: Largest resident memory of the process, or memory of the GPU.
    """

    device: str
    read_frames_per_s: float
    step_ms: float
    train_frames_per_s: float
    parts_ms: Mapping[str, float]
    times_fft: float
    infer_frames_per_s: float
    peak_memory_mib: float


def measure(
    resolved: Resolved, host: Host, work: Workload, others: Mapping[str, Any] | None = None, *,
    progress: StageProgress | None = None,
) -> Throughput:  # fmt: skip
    """Measure reading, training steps and inference with some settings.

    Calibration is left out. A part of the settings is replaced: those of the scan, the folder, and the number of steps.

    Args:
        resolved: The settings.
        host: The installed plugins.
        work: The frames.
        others: Settings that replace some, by key.
        progress: Called with (stage, steps done, steps in all).

    Raises:
        PtychoError: If the settings cannot be used.
    """
    with TemporaryDirectory(prefix="ptycho-bench-") as folder:
        return _measure(resolved, host, work, others or {}, Path(folder), progress)


def _measure(
    resolved: Resolved, host: Host, work: Workload, others: Mapping[str, Any], folder: Path,
    progress: StageProgress | None,
) -> Throughput:  # fmt: skip
    from ptycho_cli.assembly.device import torch_device
    from ptycho_cli.assembly.scans import read_scans
    from ptycho_cli.training.distributed import launched_process
    from ptycho_cli.training.start_options import StartOptions
    from ptycho_cli.training.training_run import run_training
    from ptycho_cli.workflows import assemble, no_progress

    report = progress or no_progress
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # torch's profiler prints to standard error
    report("simulating frames", 0, 0)
    scan_file = _simulated(work, folder)
    base = config_layer(config_to_json(resolved.config), "bench", Source.RUN_FILE)
    config = resolve([base, library_layer(dict(others))], host.catalogue()).config
    training = config.training
    groups = (WARM_UP + work.steps) * training.batch_size * training.accumulate_grad_batches
    changes = {
        **others, "data.paths": (str(scan_file),), "training.output_dir": str(folder / "run"), "training.epochs": 1,
        "training.n_groups": groups, "training.report": False, "checkpoint.enabled": False,
        "physics.probe_warmup": 0, "physics.refine_intensity": "never", "physics.background": 0.0,
    }  # fmt: skip
    made = resolve([base, library_layer(changes)], host.catalogue())
    began = time.perf_counter()
    (scan,) = read_scans((str(scan_file),), made.config, host.readers)
    reading_s = time.perf_counter() - began
    assembled = assemble(made, host, report)
    device = torch_device(made.config.execution)
    clock = _Clock(work.steps, device.type, progress)
    run_training(
        made, host, assembled, StartOptions(force=True), events=clock, process=launched_process(made.config.execution)
    )
    report("reconstructing", 0, 0)
    infer_s = _inference_s(assembled.objective.to(device), scan)
    step_ms = clock.step_ms()
    frames = groups // (WARM_UP + work.steps) * min(made.config.data.group_size, scan.n_frames)
    parts = clock.parts_ms(step_ms)
    return Throughput(
        _title(device), work.frames / reading_s, step_ms, 1e3 * frames / step_ms, parts,
        step_ms / parts["FFT"] if parts["FFT"] else 0.0, work.frames / infer_s, _peak_mib(device.type),
    )  # fmt: skip


def _simulated(work: Workload, folder: Path) -> Path:
    """A file of simulated frames, compressed as beamlines do, with the probe that made them."""
    import numpy as np

    from ptycho_cli.data.simulated_probes import with_random_modes
    from ptycho_cli.data.simulation import MeasuredProbe, simulate, zone_plate_probe
    from ptycho_cli.data.write import write_scan

    probe = with_random_modes(zone_plate_probe(work.size, 1.0), work.modes, np.random.default_rng(0))
    path = folder / "scan.h5"
    if not path.exists():
        write_scan(path, simulate(n_frames=work.frames, n_pixels=work.size, measured_probe=MeasuredProbe(probe)))
    return path


def _inference_s(objective: Any, scan: Any) -> float:
    """Wall time of the network on a whole scan, the second of two runs."""
    from ptycho_cli.inference.reconstruct import reconstruct
    from ptycho_cli.physics.object_update import ObjectUpdate

    times = []
    for _ in range(2):
        began = time.perf_counter()
        reconstruct(objective, scan, update=ObjectUpdate(alpha=1.0))  # ends with the object on the CPU
        times.append(time.perf_counter() - began)
    return times[-1]


@dataclass
class _Clock(Events):
    """Times optimizer steps, the first half of them, and profiles the other half."""

    steps: int
    device: str
    progress: StageProgress | None
    ends: list[float] = field(default_factory=list)
    profiler: Any = None
    profiled_ms: float = 0.0

    def step(self, step: int, epoch: int, learning_rate: float, loss: float, /) -> None:
        """Note the time of a step's end; its loss is known, so that a GPU has finished it."""
        import torch

        if self.progress is not None:
            self.progress("training steps", step, WARM_UP + self.steps)
        timed = WARM_UP + (self.steps + 1) // 2
        if step <= timed:
            self.ends.append(time.perf_counter())
        if step == timed:
            kinds = [torch.profiler.ProfilerActivity.CPU]
            kinds += [torch.profiler.ProfilerActivity.CUDA] if self.device == "cuda" else []
            self.profiler = torch.profiler.profile(activities=kinds)
            self.profiler.start()
            self.profiled_ms = -1e3 * time.perf_counter()
        if step == WARM_UP + self.steps and self.profiler is not None:
            self.profiled_ms += 1e3 * time.perf_counter()
            self.profiler.stop()

    def step_ms(self) -> float:
        """Median time of a step."""
        times = [later - earlier for earlier, later in zip(self.ends[WARM_UP - 1 :], self.ends[WARM_UP:], strict=False)]
        return 1e3 * sorted(times)[len(times) // 2]

    def parts_ms(self, step_ms: float) -> dict[str, float]:
        """Time of a step by part: its shares of the profiled steps. What is outside torch's operations is the rest."""
        found = dict.fromkeys([*PARTS, ARITHMETIC], 0.0)
        for event in self.profiler.key_averages():
            name = event.key.lower()
            if self.device != "cuda" and not name.startswith("aten::"):
                continue
            spent = event.self_device_time_total if self.device == "cuda" else event.self_cpu_time_total
            part = next((part for part, words in PARTS.items() if any(word in name for word in words)), ARITHMETIC)
            found[part] += 1e-3 * spent / self.profiled_ms
        found[OUTSIDE] = max(1.0 - sum(found.values()), 0.0)
        return {part: share * step_ms for part, share in found.items()}


def _title(device: Any) -> str:
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"{device.type}, {threads} thread{'s' * (threads != 1)}"


def _peak_mib(device: str) -> float:
    import torch

    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    try:
        import resource
    except ImportError:  # Windows
        return float("nan")
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20
