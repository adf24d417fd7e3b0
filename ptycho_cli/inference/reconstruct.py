"""Whole scans: the network on one canvas, then, if asked for, the physics step alone."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from ptycho_cli.assembly.objective import Objective
from ptycho_cli.calibration.scan_canvas import canvas_origin, frame_photons, scan_frames
from ptycho_cli.data.scan import Scan
from ptycho_cli.data.write import Reconstruction
from ptycho_cli.errors import DataError
from ptycho_cli.physics import likelihood
from ptycho_cli.physics.forward import expected_rate
from ptycho_cli.physics.frame_source import ScanFrameSource
from ptycho_cli.physics.frame_tensors import ScanFrames
from ptycho_cli.physics.modes import orthogonal_modes
from ptycho_cli.physics.object_update import ObjectUpdate
from ptycho_cli.physics.polish import polish_object
from ptycho_cli.physics.probe import scale_probe
from ptycho_cli.progress_callback import Progress, StageProgress


@dataclass(frozen=True, eq=False)
class Result:
    """A reconstruction and how well it explains the counts.

    Attributes:
        reconstruction: What ``data.write.write_reconstruction`` takes.
        r_factor: ``sum |sqrt(counts) - sqrt(rate)| / sum sqrt(counts)`` over valid pixels.
        deviance: Mean Poisson deviance, nats per valid pixel.
        bare: What the network found before the polish, where that was asked for and there was one.
    """

    reconstruction: Reconstruction
    r_factor: float
    deviance: float
    bare: Result | None = None


def probe_for(objective: Objective, scan: Scan, *, own: bool) -> Tensor:
    """The probe to reconstruct a scan with, complex ``(mode, y, x)``, its modes orthogonal, the strongest first.

    Args:
        objective: Holds the run's refined probe.
        scan: The scan; the run's probe is scaled to its mean photons.
        own: Take the probe in the scan's file instead.

    Raises:
        CheckpointError: If the scan's frames are not of the size that the run was trained on.
        DataError: If the file's probe is asked for and there is none.
    """
    probe = objective.probe_for(scan)
    if not own:
        return orthogonal_modes(probe)
    if scan.probe is None:
        raise DataError(
            f"{scan.source}: no probe in the file, but the scan's own is asked for.",
            hint="Set inference.probe to run to use the run's.",
        )
    return orthogonal_modes(scale_probe(torch.from_numpy(scan.probe).to(probe), frame_photons(scan)))


@torch.inference_mode()
def run_network(
    network: nn.Module, exposure: ScanFrames, probe: Tensor, *, physics_only: bool = False, seed: int = 0,
    progress: Progress | None = None,
) -> Tensor:  # fmt: skip
    """The network's object of a whole scan, complex ``(y, x)``.

    Args:
        network: The network.
        exposure: The scan.
        probe: The probe, complex ``(mode, y, x)``.
        physics_only: Leave out what was learned.
        seed: Seed of the order of the frames, which decides ordered subsets.
        progress: Called with (done, of how many).
    """
    order = torch.randperm(len(exposure.amplitude), generator=torch.Generator().manual_seed(seed))
    source = ScanFrameSource(exposure.select(order.to(exposure.amplitude.device)), probe)
    obj: Tensor = network(source, physics_only=physics_only, progress=progress)
    return obj[0]


@torch.inference_mode()
def coverage_of(exposure: ScanFrames, probe: Tensor) -> Tensor:
    """Photons that all frames put on each object pixel, real ``(y, x)``."""
    return ScanFrameSource(exposure, probe).illumination()[0]


def reconstruct(
    objective: Objective,
    scan: Scan,
    *,
    untrained: bool = False,
    own_probe: bool = False,
    polish: int = 0,
    update: ObjectUpdate,
    seed: int = 0,
    keep_bare: bool = False,
    progress: StageProgress | None = None,
) -> Result:
    """Reconstruct a whole scan.

    Args:
        objective: Network and probe of a run.
        scan: The scan.
        untrained: Keep the CNNs silent: the same stages, physics alone.
        own_probe: Use the probe in the scan's file, not the run's.
        polish: Iterations of the physics step alone after the network.
        update: Regularised update of the network's physics for this scan; that of the polish follows from it.
        seed: Seed of all subsets.
        keep_bare: Also judge what the network found before the polish.
        progress: Called with (``network`` or ``polish``, done, of how many).

    Raises:
        PtychoError: If run and scan do not fit together.
    """
    device, dtype = objective.probe_pairs.device, objective.probe_pairs.dtype
    probe = probe_for(objective, scan, own=own_probe)
    exposure = scan_frames(scan, dtype=dtype, device=device)

    def tell(what: str) -> Progress | None:
        return None if progress is None else lambda done, of: progress(what, done, of)

    obj = run_network(
        objective.network, exposure, probe, physics_only=untrained, seed=seed, progress=tell("network")
    )  # fmt: skip
    if not polish:
        return judged(exposure, scan, obj, probe)
    bare = judged(exposure, scan, obj, probe) if keep_bare else None
    obj = polish_object(exposure, obj, probe, update=update, iterations=polish, seed=seed, progress=tell("polish"))
    return replace(judged(exposure, scan, obj, probe), bare=bare)


@torch.inference_mode()
def mean_deviance(exposure: ScanFrames, obj: Tensor, probe: Tensor, rate: Tensor | None = None) -> float:
    """Mean Poisson deviance of frames under an object, nats per valid pixel; ``rate`` where it is known already."""
    rate = expected_rate(exposure, obj, probe) if rate is None else rate
    return likelihood.mean_deviance(exposure.amplitude.square(), rate, exposure.valid)


@torch.inference_mode()
def judged(exposure: ScanFrames, scan: Scan, obj: Tensor, probe: Tensor) -> Result:
    """An object with what it needs to be written, and how well it explains the counts."""
    rate = expected_rate(exposure, obj, probe)
    valid = torch.ones_like(rate[0]) if exposure.valid is None else exposure.valid
    misfit = ((rate.sqrt() - exposure.amplitude).abs() * valid).sum((-2, -1), dtype=torch.float64)
    size = (exposure.amplitude * valid).sum((-2, -1), dtype=torch.float64)
    return Result(
        Reconstruction(
            object=obj.cpu().numpy().astype(np.complex64),
            probe=probe.cpu().numpy().astype(np.complex64),
            positions_px=scan.positions_px,
            stored_positions_px=scan.stored_positions_px,
            intensities=scan.intensities,
            background=scan.background,
            coverage=coverage_of(exposure, probe).cpu().numpy().astype(np.float32),
            object_origin_px=canvas_origin(scan),
            frame_residual=(misfit / size.clamp_min(1e-12)).cpu().numpy().astype(np.float32),
            object_pixel_m=scan.object_pixel_m,
            wavelength_m=scan.wavelength_m,
        ),
        r_factor=float(misfit.sum() / size.sum()),
        deviance=mean_deviance(exposure, obj, probe, rate),
    )
