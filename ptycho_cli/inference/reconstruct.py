"""Reconstruction of a whole scan: the network on one canvas, then, if asked for, polish, the physics alone."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from ptycho_cli.assembly.objective import Objective
from ptycho_cli.calibration.scan_canvas import scan_frames
from ptycho_cli.data.scan import Scan
from ptycho_cli.inference.results import Result, result_of
from ptycho_cli.networks.contract import PhysicsInitialised
from ptycho_cli.physics.frame_share import ALONE, FrameShare
from ptycho_cli.physics.frame_source import ScanFrameSource
from ptycho_cli.physics.frame_tensors import ScanFrames
from ptycho_cli.physics.modes import orthogonal_modes
from ptycho_cli.physics.object_update import ObjectUpdate
from ptycho_cli.physics.polish import polish_object
from ptycho_cli.progress_callback import Progress, StageProgress, stage_progress


def reconstruction_probe(objective: Objective, scan: Scan) -> Tensor:
    """The probe to reconstruct a scan with, complex ``(mode, y, x)``, its modes orthogonal, the strongest first.

    Args:
        objective: Has the probe.
        scan: The scan, to whose mean photons the probe is scaled.

    Raises:
        CheckpointError: If the scan's frames are not of the size that the run was trained on.
    """
    return orthogonal_modes(objective.probe_for(scan))


@torch.inference_mode()
def initial_object(
    network: nn.Module, frames: ScanFrames, probe: Tensor, *, seed: int = 0
) -> tuple[Tensor, Tensor] | None:  # fmt: skip
    """What is found before the trained part of a network; None for a network that has no such start.

    Arguments as for ``run_network``, which may be given it.
    """
    if not isinstance(network, PhysicsInitialised):
        return None
    return network.start(_source(frames, probe, seed))


@torch.inference_mode()
def run_network(
    network: nn.Module, frames: ScanFrames, probe: Tensor, *, physics_only: bool = False, seed: int = 0,
    initial: tuple[Tensor, Tensor] | None = None, share: FrameShare = ALONE, progress: Progress | None = None,
) -> Tensor:  # fmt: skip
    """The network's object of a whole scan, complex ``(y, x)``.

    Args:
        network: The network.
        frames: All frames of the scan.
        probe: The probe, complex ``(mode, y, x)``.
        physics_only: Leave out what was learned.
        seed: Seed of the order of the frames, which decides the ordered subsets.
        initial: What ``initial_object`` found; None finds it.
        share: The frames that this process computes with, where several reconstruct one scan together.
        progress: Called with (stages done, stages in all).
    """
    source = _source(frames, probe, seed, share)
    source.initial = initial
    obj: Tensor = network(source, physics_only=physics_only, progress=progress)
    return obj[0]


def _source(frames: ScanFrames, probe: Tensor, seed: int, share: FrameShare = ALONE) -> ScanFrameSource:
    order = torch.randperm(len(frames.amplitude), generator=torch.Generator().manual_seed(seed))
    return ScanFrameSource(frames.in_order(order.to(frames.amplitude.device)), probe, share=share)


def reconstruct(
    objective: Objective,
    scan: Scan,
    *,
    update: ObjectUpdate,
    physics_only: bool = False,
    polish: int = 0,
    tv_weight: float = 0.0,
    seed: int = 0,
    keep_unpolished: bool = False,
    share: FrameShare = ALONE,
    progress: StageProgress | None = None,
) -> Result:
    """Reconstruct a whole scan.

    Args:
        objective: The network, and the probe to use.
        scan: The scan.
        update: Regularised update of the network's physics for this scan; that of the polish follows from it.
        physics_only: Leave out what was learned: the same stages, physics alone.
        polish: Iterations of the physics step alone after the network.
        tv_weight: Weight of the prior in them, as in ``polish_object``.
        seed: Seed of all subsets.
        keep_unpolished: Also return what the network found before the polish.
        share: As in ``run_network``.
        progress: Called with (``network`` or ``polish``, steps done, steps in all).

    Raises:
        PtychoError: If run and scan do not fit together.
    """
    pairs = objective.probe_pairs
    probe = reconstruction_probe(objective, scan)
    frames = scan_frames(scan, dtype=pairs.dtype, device=pairs.device)
    obj = run_network(
        objective.network, frames, probe,
        physics_only=physics_only, seed=seed, share=share, progress=stage_progress(progress, "network"),
    )  # fmt: skip
    if not polish:
        return result_of(frames, scan, obj, probe)
    unpolished = result_of(frames, scan, obj, probe) if keep_unpolished else None
    obj = polish_object(
        frames, obj, probe, update=update, iterations=polish, tv_weight=tv_weight, seed=seed, share=share,
        progress=stage_progress(progress, "polish"),
    )  # fmt: skip
    return replace(result_of(frames, scan, obj, probe), unpolished=unpolished)
