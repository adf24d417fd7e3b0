"""The regularised PIE on a whole scan: physics alone, to refine a rough probe or to place frames."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ptycho_cli.physics.forward import exit_waves, rates_of
from ptycho_cli.physics.gauge import centre_of_mass, drift, fix_gauge
from ptycho_cli.physics.object_update import modulus_change
from ptycho_cli.physics.patches import gather, patch_index, scatter
from ptycho_cli.physics.probe import shift_probe, shift_waves
from ptycho_cli.physics.propagation import add_modes, intensity
from ptycho_cli.progress_callback import Progress

# Frames used together; small subsets converge in fewer iterations, larger ones average more noise.
SUBSET_FRAMES = 16
# Memory for probes shifted once and kept, where the probe does not change.
SHIFTED_BYTES = 2**29


@dataclass(frozen=True, eq=False, slots=True)
class ScanFrames:
    """All frames of one scan, on one canvas.

    Attributes:
        amplitude: Square root of the counts, ``(frame, y, x)``, zero frequency at the corner.
        corners: Corner (y, x) of each patch on the canvas, int64 ``(frame, 2)``.
        shifts: Sub-pixel rest (y, x) of each position, ``(frame, 2)``.
        shape: Shape (y, x) of the canvas.
        valid: 1 where a detector pixel may be used, else 0, ``(y, x)``, zero frequency at the corner; None: all.
        intensities: Factor on the photons of the probe in each frame, ``(frame,)``; None: 1 in all.
        background: Photons that every pixel expects besides.
    """

    amplitude: Tensor
    corners: Tensor
    shifts: Tensor
    shape: tuple[int, int]
    valid: Tensor | None = None
    intensities: Tensor | None = None
    background: float = 0.0

    def select(self, which: Tensor | slice) -> ScanFrames:
        """Some of the frames, on the same canvas."""
        intensities = None if self.intensities is None else self.intensities[which]
        return replace(
            self,
            amplitude=self.amplitude[which],
            corners=self.corners[which],
            shifts=self.shifts[which],
            intensities=intensities,
        )

    def with_intensities(self, waves: Tensor) -> Tensor:
        """Waves ``(frame, ...)`` times the square root of each frame's intensity."""
        if self.intensities is None:
            return waves
        return waves * self.intensities.sqrt().reshape(-1, *(1,) * (waves.dim() - 1))

    def probes(self, probe: Tensor) -> Tensor:
        """A probe ``(mode, y, x)`` at every frame's sub-pixel rest and intensity, ``(frame, mode, y, x)``."""
        return self.with_intensities(shift_probe(probe, self.shifts))

    def vacuum(self) -> Tensor:
        """An object of ones, complex ``(y, x)``."""
        return torch.complex(self.amplitude.new_ones(self.shape), self.amplitude.new_zeros(self.shape))

    def index(self) -> Tensor:
        """``patch_index`` of the frames, ``(1, frame, y, x)``."""
        return patch_index(self.corners[None], self.amplitude.shape[-1], self.shape)


@torch.no_grad()
def run_pie(
    exposure: ScanFrames,
    obj: Tensor,
    probe: Tensor,
    *,
    iterations: int,
    alpha: float,
    probe_step: float = 0.0,
    momentum: float = 0.0,
    seed: int = 0,
    progress: Progress | None = None,
) -> tuple[Tensor, Tensor]:
    """Run the regularised PIE over all frames, in small subsets drawn anew each iteration.

    Args:
        exposure: The scan.
        obj: First object, complex ``(y, x)``.
        probe: First probe, complex ``(mode, y, x)``.
        iterations: Times to go through all frames.
        alpha: Regularisation of the object's update, relative to the largest ``|P|^2``.
        probe_step: Step of the probe's update; 0 keeps the probe. Its photons and its centre of mass are held.
        momentum: Share of an iteration's change, of object and probe, that is made once more before the next; what
            several modes and the object share out among themselves settles in half as many iterations with 0.8.
        seed: Seed of the subsets.
        progress: Called with (iterations done, of how many).

    Returns:
        Object and probe, shaped as given.

    Source: Maiden et al. (2017), doi:10.1364/OPTICA.4.000736, with the updates of a subset summed. Momentum:
        Nesterov (1983), Soviet Math. Dokl. 27:372, from one iteration to the next.
    """
    n_frames = len(exposure.amplitude)
    generator = torch.Generator().manual_seed(seed)
    subsets = max(1, -(-n_frames // SUBSET_FRAMES))
    photons, centre = float(intensity(probe).sum()), centre_of_mass(probe)
    shifted = _shifted_once(exposure, probe) if probe_step == 0 and iterations > 1 else None
    velocity: tuple[Tensor | float, Tensor | float] = (0.0, 0.0)
    for iteration in range(iterations):
        before = obj, probe
        obj, probe = obj + momentum * velocity[0], probe + momentum * velocity[1]
        order = torch.randperm(n_frames, generator=generator).to(obj.device)
        for subset in range(subsets):
            which = order[subset::subsets]
            part = exposure.select(which)
            probes = part.probes(probe) if shifted is None else shifted[which]
            obj, probe = _step(part, obj, probe, probes, alpha, probe_step)
        move = (0, 0)
        if probe_step > 0:
            move = drift(probe, centre)
            obj, probe = fix_gauge(obj, probe, photons, move)
        velocity = (
            (obj - before[0], probe - before[1]) if move == (0, 0) else (0.0, 0.0)
        )  # of what was moved it says nothing
        if progress is not None:
            progress(iteration + 1, iterations)
    return obj, probe


def _shifted_once(exposure: ScanFrames, probe: Tensor) -> Tensor | None:
    """The probe at every frame's sub-pixel rest, where it stays the same and memory allows."""
    n_bytes = len(exposure.amplitude) * probe.numel() * probe.element_size()
    return exposure.probes(probe) if n_bytes <= SHIFTED_BYTES else None


def _step(
    exposure: ScanFrames, obj: Tensor, probe: Tensor, probes: Tensor, alpha: float, probe_step: float
) -> tuple[Tensor, Tensor]:
    index = exposure.index()[0]
    patches = gather(obj[None], index)
    change, _ = modulus_change(exit_waves(patches, probes), exposure.amplitude, exposure.valid, exposure.background)
    photons = scatter(intensity(probes), index, (1, *obj.shape))[0]
    floor = alpha * intensity(probe).max()
    update = scatter(add_modes(probes.conj() * change), index, (1, *obj.shape))[0] / (photons + floor)
    if probe_step > 0:
        patches = exposure.with_intensities(patches)
        back = shift_waves(patches.conj()[:, None] * change, -exposure.shifts).sum(0)
        through = intensity(patches)
        probe = probe + probe_step * back / (through + through.max())
    return obj + update, probe


@torch.no_grad()
def expected_rate(exposure: ScanFrames, obj: Tensor, probe: Tensor, *, frames_at_once: int = 64) -> Tensor:
    """Expected photons of every frame, ``(frame, y, x)``, zero frequency at the corner."""
    parts = []
    for first in range(0, len(exposure.amplitude), frames_at_once):
        part = exposure.select(slice(first, first + frames_at_once))
        patches = gather(obj[None], part.index()[0])
        parts.append(rates_of(exit_waves(patches, part.probes(probe))) + part.background)
    return torch.cat(parts)
