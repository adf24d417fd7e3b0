"""The training objective: network, probe and likelihood in one module, with what is known of the scans."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ptycho_cli.calibration.scan_canvas import frame_photons
from ptycho_cli.data.batch import Batch
from ptycho_cli.data.scan import Scan
from ptycho_cli.errors import CheckpointError
from ptycho_cli.physics.back_projection import batch_rate
from ptycho_cli.physics.frame_parts import computed_again, in_parts, waves_at_once
from ptycho_cli.physics.frame_source import GroupFrameSource
from ptycho_cli.physics.frame_tensors import ALL, DeferredFrames, FrameBatch
from ptycho_cli.physics.likelihood import amplitude_error, poisson_deviance
from ptycho_cli.physics.object_error import log_object_error
from ptycho_cli.physics.probe import scale_probe
from ptycho_cli.physics.propagation import corner_first, intensity

# Twice the amplitude error and the Poisson deviance have the same floor, 0.5, and near it the same curvature;
# so a stage plan can move from one to the other without a jump.
AMPLITUDE_WEIGHT = 2.0
SMALLEST_MISFIT = 1e-12  # of a frame whose logarithm is taken
FAINT = 0.1  # of the peak of the probe; pixels with fewer photons count less in the error of an object


class Objective(nn.Module):
    """Misfit between the counts of frames and the object that a network finds from some of them.

    Args:
        network: The network, as :class:`~ptycho_cli.networks.contract.Network` describes it.
        probe: First probe, complex ``(mode, y, x)``; it is scaled to the photons of the first scan.
        photons: Mean photons of a frame of each scan, ``(scan,)``, validation scans after training scans.
        canvas: Shape (y, x) of every group's canvas.
        masks: True for valid detector pixels of each scan, bool ``(scan, y, x)``, zero frequency at ``n // 2``.
        loss: ``poisson`` or ``amplitude``, used where no loss weight is given.
        train_probe: Whether the probe is trained with the network.
        positions: Refined positions (y, x) of each scan in pixels, kept with the weights; empty where they were not
            refined.
        intensities: Factor on the photons of each frame, ``(scan, frame)``, NaN after a scan's last; shape
            ``(scan, 0)`` where none was found, which is the default.
        background: Background of each scan in photons per pixel, ``(scan,)``, or patterns, ``(scan, y, x)``, zero
            frequency at ``n // 2``; by default none.
        relative: Take the logarithm of each frame's misfit as its loss, where targets have no noise. It then is the
            relative change that counts, at any number of photons.
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
        train_probe: bool = False,
        positions: Sequence[Tensor] = (),
        intensities: Tensor | None = None,
        background: Tensor | None = None,
        relative: bool = False,
    ) -> None:
        super().__init__()
        self.network, self.canvas, self.loss, self.relative = network, canvas, loss, relative
        pairs = torch.view_as_real(probe / probe.abs().max()).contiguous()
        self.probe_pairs = nn.Parameter(pairs, requires_grad=train_probe)
        # networks start from this one; in the checkpoint, so that a resumed run starts from the same
        self.register_buffer("initial_probe_pairs", pairs.clone())
        self.register_buffer("photons", photons)
        self.register_buffer("intensities", photons.new_ones(len(photons), 0) if intensities is None else intensities)
        self.register_buffer("background", torch.zeros_like(photons) if background is None else background)
        for number, positions_px in enumerate(positions):
            self.register_buffer(f"positions_{number}", positions_px)
        valid = None if masks is None or bool(masks.all()) else corner_first(masks).to(photons.dtype)
        self.register_buffer("valid", valid, persistent=False)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """Take the backgrounds of a checkpoint, numbers or patterns, whatever this objective began with."""
        stored = state_dict.get(f"{prefix}background")
        if stored is not None and stored.shape != self.background.shape:
            self.background = self.background.new_empty(stored.shape)
        super()._load_from_state_dict(state_dict, prefix, *args)

    @property
    def probe(self) -> Tensor:
        """The probe for the first training scan, in square roots of photons, complex ``(mode, y, x)``.

        Its photons are fixed: otherwise a factor could drift from the probe to the object and back.
        """
        return torch.view_as_complex(self.probe_pairs) * (self.photons[0] / self.probe_pairs.square().sum()).sqrt()

    def initial_probe(self) -> Tensor:
        """The probe as it was before training, on the CPU, complex ``(mode, y, x)``."""
        pairs = self.initial_probe_pairs.cpu()
        return torch.view_as_complex(pairs) * (self.photons[0].cpu() / pairs.square().sum()).sqrt()

    def probe_for(self, scan: Scan) -> Tensor:
        """The probe, scaled to the photons of a scan, complex ``(mode, y, x)``, without gradient.

        Raises:
            CheckpointError: If the scan's frames are not of the size that the run was trained on.
        """
        probe = self.probe.detach()
        if probe.shape[-1] != scan.n_pixels:
            raise CheckpointError(
                f"{scan.source}: frames of {scan.n_pixels} px, but the run was trained on frames of"
                f" {probe.shape[-1]} px.",
                hint="Use a run that was trained on frames of this size, or crop these frames.",
            )
        return scale_probe(probe, float(probe.abs().square().sum()) * frame_photons(scan) / float(self.photons[0]))

    def with_probe(self, probe: Tensor, photons: float) -> Objective:
        """This network with another probe, and without what was found of the training scans with the run's.

        Args:
            probe: Complex ``(mode, y, x)``; its scale does not matter.
            photons: Mean photons of a frame of the scan that it belongs to.
        """
        return Objective(
            self.network, probe, self.photons.new_tensor([photons]),
            canvas=self.canvas, loss=self.loss, background=self.background.new_zeros(0),
        )  # fmt: skip

    def positions_for(self, scan: Scan, number: int | None) -> Tensor | None:
        """Refined positions (y, x) of training scan ``number`` in pixels, ``(frame, 2)``.

        None where the number is None, positions were not refined, or the number of frames is another.
        """
        positions_px: Tensor | None = getattr(self, f"positions_{number}", None)
        return positions_px if positions_px is not None and len(positions_px) == scan.n_frames else None

    def trained_parameters(self) -> dict[str, list[nn.Parameter]]:
        """Parameters to train, by the name of their group: ``network`` and, where it is trained, ``probe``."""
        groups = {"network": [weights for weights in self.network.parameters() if weights.requires_grad]}
        if self.probe_pairs.requires_grad:
            groups["probe"] = [self.probe_pairs]
        return groups

    def forward(self, batch: Batch, loss_weight: float | None = None) -> Tensor:
        """Loss of each group, nats per pixel, ``(batch,)``: the mean over its scored frames' valid pixels.

        Args:
            batch: The groups.
            loss_weight: Weight of the Poisson likelihood against the amplitude loss; None for the chosen loss.
        """
        losses, present = self.frame_losses(batch, loss_weight)
        return losses.sum(1) / present.sum(1).clamp_min(1)

    def frame_losses(self, batch: Batch, loss_weight: float | None = None) -> tuple[Tensor, Tensor]:
        """Loss of each scored frame, 0 for padding, and 1 for frames, 0 for padding, both ``(batch, frame)``.

        Arguments as for a call; the scored frames of a group come first. Where the batch has the true object, the loss
        of each frame is ``log_object_error`` of the canvas.
        """
        probe = self._group_probes(batch)
        frames = self._frames(batch, probe)
        source = self._source(batch, frames, probe)
        obj = self.network(source)
        if batch.true_object.numel():
            photons = source.illumination()
            error = log_object_error(obj, batch.true_object, photons / (photons + FAINT * source.peak))
            return error[:, None].expand(batch.scored.shape), torch.ones_like(batch.intensities)
        if batch.target is not batch.counts:
            frames = frames.with_counts(batch.target)
        scored = _select(frames, batch.scored)
        share = batch.photon_fractions[:, 1, None, None, None]
        parts = list(in_parts(range(scored.corners.shape[1]), waves_at_once(scored.one)))
        if len(parts) == 1:
            per_frame = self._misfit_of_frames(obj, scored, ALL, share, loss_weight)
        else:  # so that the waves of one part alone are in memory
            computed = [computed_again(self._misfit_of_frames, obj, scored, part, share, loss_weight) for part in parts]
            per_frame = torch.cat(computed, 1)
        present = torch.ones_like(per_frame) if scored.present is None else scored.present
        return per_frame * present, present

    def _misfit_of_frames(
        self, obj: Tensor, scored: FrameBatch | DeferredFrames, part: slice, share: Tensor, loss_weight: float | None
    ) -> Tensor:
        """Misfit of some frames, whose amplitudes are of a share of their photons, ``(batch, frame)``."""
        frames = scored.subset(part)
        misfit = self._misfit(frames.amplitude.square(), batch_rate(obj, frames) * share, loss_weight)
        if frames.valid is not None:
            misfit = misfit * (frames.valid / frames.valid.mean((-2, -1), keepdim=True))
        per_frame = misfit.mean((-2, -1))
        return per_frame.clamp_min(SMALLEST_MISFIT).log() if self.relative else per_frame

    def _group_probes(self, batch: Batch) -> Tensor:
        """The probe of each group, scaled to its scan, complex ``(batch, mode, y, x)``."""
        if batch.probe.numel():
            return batch.probe
        scale = (self.photons / self.photons[0]).sqrt()[batch.scan]
        return self.probe * scale[:, None, None, None]

    def _frames(self, batch: Batch, probe: Tensor) -> FrameBatch | DeferredFrames:
        """The frames of a batch with their probes; ``probe`` is that of each group, ``(batch, mode, y, x)``.

        They are deferred where the loss alone needs them, in several parts: the network has an initial object.
        """
        own = bool(batch.probe.numel())
        valid = corner_first(batch.valid).to(batch.counts.dtype) if own else self._valid_pixels(batch)
        background = batch.background if own else self.background[batch.scan]
        frames = DeferredFrames(
            counts=batch.counts,
            corners=batch.corners,
            probe=probe,
            shifts=batch.shifts,
            scale=self._frame_intensities(batch).sqrt(),
            valid=None if valid is None else valid[:, None],
            background=_on_frames(background),
        )
        deferred = batch.initial_object.numel() and batch.corners.shape[1] > waves_at_once(frames.one)
        return frames if deferred else frames.subset(ALL)

    def _valid_pixels(self, batch: Batch) -> Tensor | None:
        return None if self.valid is None else self.valid[batch.scan]

    def _source(self, batch: Batch, frames: FrameBatch | DeferredFrames, probe: Tensor) -> GroupFrameSource:
        """Input of the network: the frames that it sees, with the photons that are not withheld."""
        share = batch.photon_fractions[:, 0]
        if bool((share < 1).any()):
            frames = frames.with_share(share)
        return GroupFrameSource(
            _select(frames, batch.seen),
            self.canvas,
            intensity(probe).amax((-2, -1))[:, None, None] * share[:, None, None],
            initial=_initial_object(batch.initial_object),
            symmetries=batch.symmetries,
        )

    def _frame_intensities(self, batch: Batch) -> Tensor:
        """Intensity of each frame, ``(batch, patch)``; that of the first frame for padding."""
        if batch.probe.numel():
            return batch.intensities
        if not self.intensities.numel():
            return torch.ones_like(batch.shifts[..., 0])
        return self.intensities[batch.scan[:, None], batch.frames.clamp_min(0)]

    def corrected(self, scan: Scan, number: int | None) -> Scan | None:
        """The scan with the intensities and the background that were found of training scan ``number``.

        None where the number is None or not a training scan's, or the scan has frames that were not trained on.
        """
        if number is None or number >= len(self.background):
            return None
        found = self.intensities[number]
        found = found[found.isfinite()].double().cpu()
        if 0 < len(found) < scan.n_frames:
            return None
        intensities = found[: scan.n_frames].numpy() if bool((found != 1).any()) else None
        background = self.background[number].double().cpu()
        return replace(
            scan, intensities=intensities, background=background.numpy() if background.dim() else float(background)
        )

    def _misfit(self, counts: Tensor, rate: Tensor, loss_weight: float | None) -> Tensor:
        weight = float(self.loss == "poisson") if loss_weight is None else loss_weight
        total = torch.zeros_like(rate)
        if weight > 0:
            total = total + weight * poisson_deviance(counts, rate)
        if weight < 1:
            total = total + (1 - weight) * AMPLITUDE_WEIGHT * amplitude_error(counts, rate)
        return total


def _on_frames(background: Tensor) -> Tensor:
    """Background of each scan as it adds to frames ``(batch, patch, y, x)``, zero frequency at the corner."""
    return background[:, None, None, None] if background.dim() == 1 else corner_first(background)[:, None]


def _initial_object(fields: Tensor) -> tuple[Tensor, Tensor] | None:
    """Objects, complex ``(batch, k, y, x)``, and their photons, from ``Batch.initial_object``; None without any."""
    return (torch.complex(fields[:, :-1:2], fields[:, 1::2]), fields[:, -1]) if fields.numel() else None


def _select(frames: FrameBatch | DeferredFrames, which: Tensor) -> FrameBatch | DeferredFrames:
    """The frames where ``which``, bool ``(batch, patch)``, is True, in order, padded where groups have fewer."""
    if bool(which.all()):
        return frames
    count = which.sum(1)
    order = torch.argsort(~which, dim=1, stable=True)[:, : max(1, int(count.max()))]
    present = torch.arange(order.shape[1], device=which.device) < count[:, None]
    kept = None if bool(present.all()) else present.to(frames.one.real.dtype)
    return replace(frames.take(order), present=kept)


def intensities_of(scans: Sequence[Scan]) -> Tensor:
    """Intensities of scans, ``(scan, frame)``: 1 where none were found, NaN after a scan's last frame."""
    found = np.full((len(scans), max(scan.n_frames for scan in scans)), np.nan)
    for row, scan in zip(found, scans, strict=True):
        row[: scan.n_frames] = 1.0 if scan.intensities is None else scan.intensities
    return torch.from_numpy(found)
