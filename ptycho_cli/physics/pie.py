"""The regularised PIE on a whole scan: physics alone, to refine a rough probe or to place frames."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from ptycho_cli.physics.forward import back_to_object, exit_waves, illumination
from ptycho_cli.physics.frame_tensors import ScanFrames
from ptycho_cli.physics.gauge import centre_of_mass, drift, fix_gauge
from ptycho_cli.physics.object_update import ObjectUpdate, modulus_change
from ptycho_cli.physics.patches import scatter
from ptycho_cli.physics.probe import sum_shifted_back
from ptycho_cli.physics.propagation import intensity
from ptycho_cli.progress_callback import Progress

# Frames used together; small subsets converge in fewer iterations, larger ones average more noise.
SUBSET_FRAMES = 16


def run_pie(
    frames: ScanFrames,
    obj: Tensor,
    probe: Tensor,
    *,
    update: ObjectUpdate,
    iterations: int,
    probe_step: float = 0.0,
    momentum: float = 0.0,
    seed: int = 0,
    progress: Progress | None = None,
) -> tuple[Tensor, Tensor]:
    """Object and probe after some iterations of ``pie_iterations``, which has the other arguments.

    Args:
        frames: The frames of the scan.
        obj: Initial object, complex ``(y, x)``.
        probe: Initial probe, complex ``(mode, y, x)``, in square roots of photons.
        update: The regularised update of the object.
        iterations: Passes through all frames.
        probe_step: As there.
        momentum: As there.
        seed: As there.
        progress: Called with (iterations done, iterations in all).
    """
    found = pie_iterations(frames, obj, probe, update=update, probe_step=probe_step, momentum=momentum, seed=seed)
    for done, after in zip(range(1, iterations + 1), found, strict=False):
        obj, probe = after
        if progress is not None:
            progress(done, iterations)
    return obj, probe


@torch.no_grad()
def pie_iterations(
    frames: ScanFrames,
    obj: Tensor,
    probe: Tensor,
    *,
    update: ObjectUpdate,
    probe_step: float = 0.0,
    momentum: float = 0.0,
    seed: int = 0,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Object and probe after 1, 2, 3, ... iterations of the regularised PIE, without end.

    Each passes through all frames, in small subsets that are drawn anew.

    Args:
        frames: The frames of the scan.
        obj: Initial object, complex ``(y, x)``.
        probe: Initial probe, complex ``(mode, y, x)``, in square roots of photons.
        update: The regularised update of the object.
        probe_step: Step length of the probe's update; 0 keeps the probe. Its photons and its centre of mass are fixed.
        momentum: Share of the last iteration's change of object and probe that is added before the next one. With 0.8
            several modes and the object converge in half as many iterations.
        seed: Seed of the subsets.

    Yields:
        Object and probe, of the same shapes.

    Source: Maiden et al. (2017), doi:10.1364/OPTICA.4.000736, with the updates of a subset summed. Momentum:
        Nesterov (1983), Soviet Math. Dokl. 27:372, from one iteration to the next.
    """
    generator = torch.Generator().manual_seed(seed)
    subsets = max(1, -(-len(frames) // SUBSET_FRAMES))
    photons, centre = float(intensity(probe).sum()), centre_of_mass(probe)
    shifted = frames.probes_if_they_fit(probe) if probe_step == 0 else None
    light = None if shifted is None else intensity(shifted)
    velocity: tuple[Tensor | float, Tensor | float] = (0.0, 0.0)
    while True:
        before = obj, probe
        obj, probe = obj + momentum * velocity[0], probe + momentum * velocity[1]
        order = torch.randperm(len(frames), generator=generator).to(obj.device)
        for subset in range(subsets):
            which = order[subset::subsets]
            part = frames.select(which)
            probes = part.probes(probe) if shifted is None else shifted[which]
            obj, probe = _step(part, obj, probe, probes, None if light is None else light[which], update, probe_step)
        move = (0, 0)
        if probe_step > 0:
            move = drift(probe, centre)
            obj, probe = fix_gauge(obj, probe, photons, move)
        # After a move by whole pixels the difference to the iteration before is no velocity.
        velocity = (obj - before[0], probe - before[1]) if move == (0, 0) else (0.0, 0.0)
        yield obj, probe


def _step(
    frames: ScanFrames, obj: Tensor, probe: Tensor, probes: Tensor, light: Tensor | None, update: ObjectUpdate,
    probe_step: float,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Update object and probe with the frames of one subset.

    ``probes`` is complex ``(frame, mode, y, x)``, ``light`` their photons, ``(frame, y, x)``, where these are kept.
    """
    batch, canvas = frames.batch(probes), obj[None]
    patches = batch.patches(canvas)
    change = modulus_change(exit_waves(patches, batch.probes), batch.amplitude, batch.valid, batch.background)
    peak = intensity(probe).max()
    lit = illumination(batch, canvas.shape) if light is None else scatter(light[None], batch.corners, canvas.shape)
    step = update(canvas, back_to_object(change, batch, canvas.shape), lit, peak)[0]
    if probe_step > 0:
        patches = frames.with_intensities(patches[0])
        back = sum_shifted_back(patches.conj()[:, None] * change[0], frames.shifts)
        through = intensity(patches)  # sum over frames of |O|^2
        probe = probe + probe_step * back / (through + through.max())
    return obj + step, probe
