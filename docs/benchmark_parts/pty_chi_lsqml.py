"""Reconstruct a scan with pty-chi's LSQML: ``python pty_chi_lsqml.py SCAN.npz OBJECT.npz EPOCHS``.

Runs where pty-chi is installed (``pip install ptychi``), in an environment of its own; it needs nothing of this
program. Prints the CPU seconds of the process, imports included.
"""

from __future__ import annotations

import sys
import time

import numpy as np
import ptychi.api as api
import torch
from ptychi.api.task import PtychographyTask


def reconstruct(path: str, epochs: int) -> np.ndarray:
    """The object of a scan with ``diffraction``, ``probe`` and ``scan_yx_px``, complex ``(y, x)``.

    Step sizes are solved for, and a batch has a 32nd of the frames; the probe of the file is refined from the second
    epoch on.
    """
    with np.load(path) as stored:
        counts, probe, positions = stored["diffraction"], stored["probe"], stored["scan_yx_px"]
    reach = positions.max(0) - positions.min(0)
    shape = tuple(int(side) for side in np.ceil(reach) + counts.shape[-1] + 10)
    options = api.LSQMLOptions()
    options.data_options.data = counts.astype(np.float32)
    options.object_options.initial_guess = np.ones((1, *shape), np.complex64)
    options.object_options.optimizable = True
    options.probe_options.initial_guess = probe.reshape(1, -1, *probe.shape[-2:]).astype(np.complex64)
    options.probe_options.optimizable = True
    options.probe_options.optimization_plan.start = 1
    options.probe_position_options.position_y_px = positions[:, 0] - positions[:, 0].mean()
    options.probe_position_options.position_x_px = positions[:, 1] - positions[:, 1].mean()
    options.probe_position_options.optimizable = False
    options.reconstructor_options.num_epochs = epochs
    options.reconstructor_options.batch_size = max(1, len(counts) // 32)
    options.reconstructor_options.default_device = api.Devices.CPU
    task = PtychographyTask(options)
    task.run()
    found = np.asarray(task.get_data_to_cpu("object", as_numpy=True))[0]
    found[~covered(positions - positions.mean(0), probe, shape)] = np.nan
    return found


def covered(positions: np.ndarray, probe: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """True where a tenth of the median light or more falls; only there the object is known, bool ``(y, x)``."""
    light, size = np.zeros(shape), probe.shape[-1]
    photons = (np.abs(probe) ** 2).reshape(-1, size, size).sum(0)
    for y, x in np.rint(positions + (np.array(shape) - size) / 2).astype(int):
        light[y : y + size, x : x + size] += photons
    return light >= 0.1 * np.median(light[light > 0])


if __name__ == "__main__":
    torch.manual_seed(0)
    source, output, epochs = sys.argv[1:]
    np.savez(output, object=reconstruct(source, int(epochs)))
    print(f"{epochs} epochs: {time.process_time():.1f} CPU s")
