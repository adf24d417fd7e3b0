"""Benchmarks of scans that do not fit into memory: peak memory and time by the number of frames.

``python docs/benchmark_parts/large_scans.py scan.h5 20000 256`` only writes such a scan.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import torch

PHOTONS = 1e5
STEP_PX, PERIOD = 6, 16  # small steps, so that the object of many frames stays small
AT_ONCE = 64
NUMBERS = (1000, 4000, 20_000)
GROWTH = (1000, 4000, 16_000)
SIZE = 64
BUDGET = 5  # times that all frames, as stored, are larger than the memory for them
TRAINING = ("--epochs", "1", "--n-groups", "8", "--set", "inference.polish=0", "--set", "physics.probe_warmup=0")


def write_large_scan(path: Path, n_frames: int, n_pixels: int) -> None:
    """Write a simulated scan in blocks, compressed, one frame in a chunk, as uint16.

    Object and positions repeat after ``PERIOD`` steps, so that expected frames are computed once; photons are drawn for
    each frame.
    """
    from ptycho_cli.data.simulated_objects import OBJECT_KINDS
    from ptycho_cli.data.simulation import zone_plate_probe
    from ptycho_cli.geometry import split_positions
    from ptycho_cli.physics.forward import rates

    rng = np.random.default_rng(0)
    row, column = np.divmod(np.arange(n_frames), int(np.ceil(np.sqrt(n_frames))))
    cell = (row % PERIOD) * PERIOD + column % PERIOD
    jitter = rng.uniform(-0.3, 0.3, (PERIOD**2, 2))
    places = (np.stack(np.divmod(np.arange(PERIOD**2), PERIOD), axis=1) + jitter) * STEP_PX
    corners, shifts = split_positions(places, n_pixels)
    side = PERIOD * STEP_PX
    repeats = 2 + -(-n_pixels // side)
    truth = np.tile(OBJECT_KINDS["texture"]((side, side), rng), (repeats, repeats)).astype(np.complex64)
    probe = zone_plate_probe(n_pixels, PHOTONS)[None].astype(np.complex64)
    where = torch.from_numpy(corners % side), torch.from_numpy(shifts.astype(np.float32))
    expected = rates(torch.from_numpy(truth), torch.from_numpy(probe), *where).numpy()
    with h5py.File(path, "w") as file:
        shape = (n_frames, n_pixels, n_pixels)
        counts = file.create_dataset(
            "diffraction", shape, np.uint16, chunks=(1, *shape[1:]), compression="gzip", compression_opts=1,
            shuffle=True,
        )  # fmt: skip
        file["positions_px"] = (np.stack([row, column], axis=1) + jitter[cell]) * STEP_PX
        file["probe"] = probe
        for start in range(0, n_frames, AT_ONCE):
            part = slice(start, start + AT_ONCE)
            counts[part] = rng.poisson(expected[cell[part]])


def measured(*words: str) -> tuple[float, float, float]:
    """Run a command of the program; return its wall and CPU seconds, and its peak memory in GiB."""
    from benchmark_parts.harness import ONE_THREAD, PTYCHO

    began = time.perf_counter()
    process = subprocess.Popen([PTYCHO, *words], env=ONE_THREAD, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{' '.join(words)} failed")
    return time.perf_counter() - began, used.ru_utime + used.ru_stime, used.ru_maxrss / 2**20


def memory(folder: Path) -> None:
    """Peak memory and time of scans five times larger than the memory for frames (64 x 64 pixels)."""
    from benchmark_parts.harness import head, row

    head("frames", "stored GiB", "budget GiB", "command", "wall s", "CPU s", "peak memory GiB")
    for number in NUMBERS:
        scan, run = folder / f"large_{number}.h5", folder / f"large_{number}"
        write_large_scan(scan, number, SIZE)
        stored = number * SIZE**2 * 2 / 2**30
        budget = ("--set", f"data.memory_budget_gib={stored / BUDGET:.4g}")
        commands = {
            "data check --quick": ("data", "check", "--quick", str(scan)),
            "data check": ("data", "check", str(scan)),
            "train": ("train", str(scan), "-o", str(run), "--quiet", *TRAINING),
            "infer": ("infer", str(run), str(scan), "-o", str(folder / f"object_{number}.h5"), "--quiet"),
        }
        for name, words in commands.items():
            wall_s, cpu_s, peak = measured(*words, *budget)
            row(number, round(stored, 3), round(stored / BUDGET, 3), name, round(wall_s), round(cpu_s), round(peak, 2))


def growth(folder: Path) -> None:
    """Time and peak memory by the number of frames (64 x 64 pixels), all held in memory, eight training steps."""
    from benchmark_parts.harness import head, row

    head("frames", "command", "CPU s", "peak memory GiB")
    for number in GROWTH:
        scan, run, output = (folder / f"growth_{number}{end}" for end in (".h5", "", "_object.h5"))
        write_large_scan(scan, number, SIZE)
        commands = {
            "train": ("train", str(scan), "-o", str(run), *TRAINING),
            "infer": ("infer", str(run), str(scan), "-o", str(output), "--polish", "8"),
        }
        for name, words in commands.items():
            _, cpu_s, peak = measured(*words, "--quiet")
            row(number, name, round(cpu_s), round(peak, 2))


if __name__ == "__main__":
    write_large_scan(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
