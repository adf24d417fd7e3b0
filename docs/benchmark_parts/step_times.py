"""Times of the parts of a training step, on random numbers of the sizes of the semi-synthetic and the measured star."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from benchmark_parts.harness import head, row
from ptycho_cli.networks.blocks import CanvasBlock
from ptycho_cli.physics.back_projection import back_project
from ptycho_cli.physics.forward import back_to_object, exit_waves
from ptycho_cli.physics.frame_tensors import FrameBatch
from ptycho_cli.physics.object_update import modulus_change

FRAMES, REPEATS = 48, 25
SIZES = ((64, 1, (128, 136)), (128, 3, (232, 240)))  # pixels along a frame, modes, canvas


def step(folder: Path) -> None:
    """Parts of a training step, forward and backward, shortest of 25 runs: CPU ms."""
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    head("frames", "modes", "physics, differentiated by torch", "physics, closed form", "CNN", "CNN, fold=2")
    for size, modes, canvas in SIZES:
        frames, obj = _random(size, modes, canvas)
        channels = torch.randn(1, 5, *canvas)
        times = [_shortest(partial(function, obj, frames)) for function in (_composed, back_project)]
        times += [_shortest(partial(CanvasBlock(5, 24, 2, fold=fold), channels)) for fold in (1, 2)]
        row(f"{FRAMES} of {size} px", modes, *(f"{time_ms:.1f}" for time_ms in times))


def _random(size: int, modes: int, canvas: tuple[int, int]) -> tuple[FrameBatch, Tensor]:
    rng = torch.Generator().manual_seed(0)

    def noise(*shape: int) -> Tensor:
        return torch.randn(*shape, dtype=torch.complex64, generator=rng)

    corners = torch.stack([torch.randint(0, side - size, (1, FRAMES), generator=rng) for side in canvas], -1)
    amplitude = torch.poisson(30 * torch.rand(1, FRAMES, size, size, generator=rng), rng).sqrt()
    probes = (5 * noise(1, FRAMES, modes, size, size)).requires_grad_()
    return FrameBatch(amplitude, corners, probes), (1 + 0.1 * noise(1, *canvas)).requires_grad_()


def _composed(obj: Tensor, frames: FrameBatch) -> Tensor:
    waves = exit_waves(frames.patches(obj), frames.probes)
    return back_to_object(modulus_change(waves, frames.amplitude), frames, obj.shape)


def _shortest(function: Callable[[], Tensor]) -> float:
    times = []
    for _ in range(REPEATS):
        began = time.process_time()
        result = function()
        (result.real if result.is_complex() else result).sum().backward()
        times.append(time.process_time() - began)
    return 1e3 * min(times)
