"""The objective: network, probe and likelihood in one module, and what is known of the scans it is trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ptycho_cli.data.batch import Batch
from ptycho_cli.data.scan import Scan
from ptycho_cli.physics.forward import exit_waves, rates_of
from ptycho_cli.physics.frame_source import GroupFrameSource, take
from ptycho_cli.physics.likelihood import amplitude_error, poisson_deviance
from ptycho_cli.physics.object_update import FrameBatch
from ptycho_cli.physics.patches import gather, patch_index
from ptycho_cli.physics.probe import shift_waves
from ptycho_cli.physics.propagation import corner_first, intensity

# Twice the amplitude error and the Poisson deviance have the same floor, 0.5, and near it the same curvature;
# so a stage plan can move from one to the other without a jump.
AMPLITUDE_WEIGHT = 2.0


class Objective(nn.Module):
    """How badly a network's reconstruction of some frames explains the counts of frames.

    Args:
        network: The network, as ``networks.contract.Network`` describes it.
        probe: First probe, complex ``(mode, y, x)``; it is scaled to the photons of the first scan.
        photons: Mean photons of a frame of each scan, ``(scan,)``, those to validate on after those to train on.
        canvas: Shape (y, x) of every group's canvas.
        masks: Detector pixels to trust in each scan, bool ``(scan, y, x)``, zero frequency at ``n // 2``.
        loss: ``poisson`` or ``amplitude``, used where no loss weight is given.
        rates: Base learning rates of network and probe, and weight decay of the network; a probe rate of 0 keeps the
            probe as it is.
        positions: Refined positions (y, x) of each scan in pixels, kept with the weights; none where they are stored.
        intensities: Factor on the photons of each frame, ``(scan, frame)``, NaN after a scan's last; of no frames where
            none was found.
        background: Photons that every pixel expects besides, ``(scan,)``; by default none.
    """

    initial_probe_pairs: Tensor
    photons: Tensor
    intensities: Tensor
    background: Tensor
    valid: Tensor | None

    def __init__(
        self,
        network: nn.Module,
        probe: Tensor,
        photons: Tensor,
        *,
        canvas: tuple[int, int] = (0, 0),
        masks: Tensor | None = None,
        loss: str = "poisson",
        rates: tuple[float, float, float] = (1e-3, 0.0, 0.0),
        positions: Sequence[Tensor] = (),
        intensities: Tensor | None = None,
        background: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.network, self.canvas, self.loss, self.rates = network, canvas, loss, rates
        pairs = torch.view_as_real(probe / probe.abs().max()).contiguous()
        self.probe_pairs = nn.Parameter(pairs, requires_grad=rates[1] > 0)
        # what networks start from; in the checkpoint, so that a resumed run starts from the same
        self.register_buffer("initial_probe_pairs", pairs.clone())
        self.register_buffer("photons", photons)
        self.register_buffer("intensities", photons.new_ones(len(photons), 0) if intensities is None else intensities)
        self.register_buffer("background", torch.zeros_like(photons) if background is None else background)
        for number, places in enumerate(positions):
            self.register_buffer(f"positions_{number}", places)
        valid = None if masks is None or bool(masks.all()) else corner_first(masks).to(photons.dtype)
        self.register_buffer("valid", valid, persistent=False)

    @property
    def probe(self) -> Tensor:
        """The probe for the first training scan, in square roots of photons, complex ``(mode, y, x)``.

        Its photons are held: a factor could drift from the probe to the object and back.
        """
        return torch.view_as_complex(self.probe_pairs) * (self.photons[0] / self.probe_pairs.square().sum()).sqrt()

    def initial_probe(self) -> Tensor:
        """The probe as it was before training, on the CPU, complex ``(mode, y, x)``."""
        pairs = self.initial_probe_pairs.cpu()
        return torch.view_as_complex(pairs) * (self.photons[0].cpu() / pairs.square().sum()).sqrt()

    def parameter_groups(self) -> list[dict[str, object]]:
        """Network and, if it is refined, probe, each with its base learning rate."""
        learning_rate, probe_rate, decay = self.rates
        network = {"name": "network", "params": list(self.network.parameters()), "lr": learning_rate}
        groups: list[dict[str, object]] = [{**network, "weight_decay": decay}]
        if probe_rate > 0:
            groups.append({"name": "probe", "params": [self.probe_pairs], "lr": probe_rate, "weight_decay": 0.0})
        return groups

    def forward(self, batch: Batch, loss_weight: float | None = None) -> Tensor:
        """Loss of each group, nats per pixel, ``(batch,)``: the mean over its scored frames' valid pixels.

        Args:
            batch: The groups.
            loss_weight: Weight of the Poisson likelihood against the amplitude loss; None for the chosen loss.
        """
        flux = (self.photons / self.photons[0]).sqrt()[batch.scan]
        probe = self.probe * flux[:, None, None, None]
        peak = intensity(probe).amax((-2, -1))[:, None, None]
        valid = None if self.valid is None else self.valid[batch.scan][:, None]
        background = self.background[batch.scan][:, None, None, None]
        seen_share, scored_share = batch.shares.unbind(1)
        frames = FrameBatch(
            amplitude=corner_first(batch.counts).sqrt(),
            index=patch_index(batch.corners, batch.counts.shape[-1], self.canvas),
            probes=shift_waves(probe[:, None], batch.shifts) * self._lit(batch).sqrt()[..., None, None, None],
            valid=valid,
        )
        dimmed = replace(
            frames,
            probes=frames.probes * seen_share.sqrt()[:, None, None, None, None],
            background=background * seen_share[:, None, None, None],
        )
        source = GroupFrameSource(
            _picked(dimmed, batch.seen),
            self.canvas,
            peak * seen_share[:, None, None],
            start=_start(batch.start),
            turns=batch.turns,
        )
        obj = self.network(source)
        scored = _picked(replace(frames, amplitude=corner_first(batch.target).sqrt()), batch.scored)
        rate = rates_of(exit_waves(gather(obj, scored.index), scored.probes)) + background
        rate = rate * scored_share[:, None, None, None]
        misfit = self._misfit(scored.amplitude.square(), rate, loss_weight)
        if valid is not None:
            misfit = misfit * (valid / valid.mean((-2, -1), keepdim=True))
        per_frame = misfit.mean((-2, -1))
        present = torch.ones_like(per_frame) if scored.present is None else scored.present
        return (per_frame * present).sum(1) / present.sum(1).clamp_min(1)

    def _lit(self, batch: Batch) -> Tensor:
        """Intensity of each frame, ``(batch, patch)``; that of the first for padding."""
        if not self.intensities.numel():
            return torch.ones_like(batch.shifts[..., 0])
        return self.intensities[batch.scan[:, None], batch.frames.clamp_min(0)]

    def corrected(self, scan: Scan, number: int | None) -> Scan | None:
        """A scan with the intensities and the background that were found of training scan ``number``.

        None where the number is none, or the frames are more than those that were trained on.
        """
        if number is None or number >= len(self.background):
            return None
        found = self.intensities[number]
        found = found[found.isfinite()].double().cpu()
        if 0 < len(found) < scan.n_frames:
            return None
        lit = found[: scan.n_frames].numpy() if bool((found != 1).any()) else None
        return replace(scan, intensities=lit, background=float(self.background[number]))

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        """A run from before there were such corrections has none."""
        for name in ("intensities", "background"):
            state_dict.setdefault(f"{prefix}{name}", getattr(self, name))
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

    def _misfit(self, counts: Tensor, rate: Tensor, loss_weight: float | None) -> Tensor:
        weight = float(self.loss == "poisson") if loss_weight is None else loss_weight
        total = torch.zeros_like(rate)
        if weight > 0:
            total = total + weight * poisson_deviance(counts, rate)
        if weight < 1:
            total = total + (1 - weight) * AMPLITUDE_WEIGHT * amplitude_error(counts, rate)
        return total


def _start(fields: Tensor) -> tuple[Tensor, Tensor] | None:
    """Object and photons of ``Batch.start``."""
    return (torch.complex(fields[:, 0], fields[:, 1]), fields[:, 2]) if fields.numel() else None


def _picked(frames: FrameBatch, which: Tensor) -> FrameBatch:
    """The frames marked in ``which`` ``(batch, patch)``, in their order, padded where groups have fewer."""
    if bool(which.all()):
        return frames
    count = which.sum(1)
    order = torch.argsort(~which, dim=1, stable=True)[:, : max(1, int(count.max()))]
    present = torch.arange(order.shape[1], device=which.device) < count[:, None]
    kept = None if bool(present.all()) else present.to(frames.amplitude.dtype)
    return replace(take(frames, order), present=kept)


def intensities_of(scans: Sequence[Scan]) -> Tensor:
    """Intensities of scans as the objective keeps them, ``(scan, frame)``."""
    found = np.full((len(scans), max(scan.n_frames for scan in scans)), np.nan)
    for row, scan in zip(found, scans, strict=True):
        row[: scan.n_frames] = 1.0 if scan.intensities is None else scan.intensities
    return torch.from_numpy(found)
