"""The objective: network, probe and likelihood in one module, and everything that training needs beside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from pydantic import BaseModel
from torch import Tensor, nn

from ptycho_cli.assembly.data import build_groups, build_loaders, real_type
from ptycho_cli.assembly.physics import auto_alpha, auto_withheld, frame_photons
from ptycho_cli.assembly.positions import PositionSearch
from ptycho_cli.assembly.start import MakeStart
from ptycho_cli.assembly.warmup import WarmProbe, modes_wanted, plain_probe, refuse_idle_modes, warm_probe
from ptycho_cli.config.schema import Config
from ptycho_cli.data.batch import Batch
from ptycho_cli.data.checks import refuse_other_pixels
from ptycho_cli.data.groups import Groups
from ptycho_cli.data.loader import GroupLoader
from ptycho_cli.data.scan import Scan
from ptycho_cli.errors import CheckpointError, PluginError, PtychoError
from ptycho_cli.extend.specs import NetworkContext, NetworkEntry
from ptycho_cli.networks.contract import Starting
from ptycho_cli.physics.fields import corner_first, intensity
from ptycho_cli.physics.forward import exit_waves, rates_of
from ptycho_cli.physics.likelihood import amplitude_error, poisson_deviance
from ptycho_cli.physics.modes import with_modes
from ptycho_cli.physics.patches import gather, patch_index
from ptycho_cli.physics.probe import scale_probe, shift_waves
from ptycho_cli.physics.scene import GroupScene, take
from ptycho_cli.physics.update import Frames

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
    """

    first_probe_pairs: Tensor
    photons: Tensor
    trusted: Tensor | None

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
    ) -> None:
        super().__init__()
        self.network, self.canvas, self.loss, self.rates = network, canvas, loss, rates
        pairs = torch.view_as_real(probe / probe.abs().max()).contiguous()
        self.probe_pairs = nn.Parameter(pairs, requires_grad=rates[1] > 0)
        # what networks start from; in the checkpoint, so that a resumed run starts from the same
        self.register_buffer("first_probe_pairs", pairs.clone())
        self.register_buffer("photons", photons)
        for number, places in enumerate(positions):
            self.register_buffer(f"positions_{number}", places)
        trusted = None if masks is None or bool(masks.all()) else corner_first(masks).to(photons.dtype)
        self.register_buffer("trusted", trusted, persistent=False)

    @property
    def probe(self) -> Tensor:
        """The probe for the first training scan, in square roots of photons, complex ``(mode, y, x)``.

        Its photons are held: a factor could drift from the probe to the object and back.
        """
        return torch.view_as_complex(self.probe_pairs) * (self.photons[0] / self.probe_pairs.square().sum()).sqrt()

    def first_probe(self) -> Tensor:
        """The probe as it was before training, on the CPU, complex ``(mode, y, x)``."""
        pairs = self.first_probe_pairs.cpu()
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
        """Loss of each group, nats per pixel, ``(batch,)``: the mean over its scored frames' trusted pixels.

        Args:
            batch: The groups.
            loss_weight: Weight of the Poisson likelihood against the amplitude loss; None for the chosen loss.
        """
        flux = (self.photons / self.photons[0]).sqrt()[batch.scan]
        probe = self.probe * flux[:, None, None, None]
        peak = intensity(probe).amax((-2, -1))[:, None, None]
        trusted = None if self.trusted is None else self.trusted[batch.scan][:, None]
        seen_share, scored_share = batch.shares.unbind(1)
        frames = Frames(
            amplitude=corner_first(batch.counts).sqrt(),
            index=patch_index(batch.corners, batch.counts.shape[-1], self.canvas),
            probes=shift_waves(probe[:, None], batch.shifts),
            trusted=trusted,
        )
        dimmed = replace(frames, probes=frames.probes * seen_share.sqrt()[:, None, None, None, None])
        scene = GroupScene(
            _picked(dimmed, batch.seen),
            self.canvas,
            peak * seen_share[:, None, None],
            start=_start(batch.start),
            turns=batch.turns,
        )
        obj = self.network(scene)
        scored = _picked(replace(frames, amplitude=corner_first(batch.target).sqrt()), batch.scored)
        rate = rates_of(exit_waves(gather(obj, scored.index), scored.probes)) * scored_share[:, None, None, None]
        misfit = self._misfit(scored.amplitude.square(), rate, loss_weight)
        if trusted is not None:
            misfit = misfit * (trusted / trusted.mean((-2, -1), keepdim=True))
        per_frame = misfit.mean((-2, -1))
        present = torch.ones_like(per_frame) if scored.present is None else scored.present
        return (per_frame * present).sum(1) / present.sum(1).clamp_min(1)

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


def _picked(frames: Frames, which: Tensor) -> Frames:
    """The frames marked in ``which`` ``(batch, patch)``, in their order, padded where groups have fewer."""
    if bool(which.all()):
        return frames
    count = which.sum(1)
    order = torch.argsort(~which, dim=1, stable=True)[:, : max(1, int(count.max()))]
    present = torch.arange(order.shape[1], device=which.device) < count[:, None]
    kept = None if bool(present.all()) else present.to(frames.amplitude.dtype)
    return replace(take(frames, order), present=kept)


@dataclass(frozen=True, eq=False)
class Assembled:
    """What training needs.

    Attributes:
        objective: Network, probe and likelihood.
        training_loader: Training batches.
        validation_loader: Validation batches; None if nothing is held out.
        scans: The training scans.
        groups: Which frames are trained on, and which are held out.
        notes: What ``auto`` became and why, one line each.
        resolved_auto: Values that replaced ``auto``, by key.
    """

    objective: Objective
    training_loader: GroupLoader
    validation_loader: GroupLoader | None
    scans: tuple[Scan, ...]
    groups: Groups
    notes: tuple[str, ...]
    resolved_auto: dict[str, float]


def build_network(entry: NetworkEntry, options: BaseModel, context: NetworkContext) -> nn.Module:
    """Build a network through its plugin's factory, its weights drawn from torch's global generator.

    Raises:
        PluginError: If the factory fails, or returns what is no network.
    """
    try:
        network = entry.build(context, options)
    except PtychoError:
        raise
    except Exception as error:
        raise PluginError(
            f"network '{entry.name}' failed in build: {type(error).__name__}: {error}.",
            hint="Choose another with --network, or report it to the author of its distribution.",
        ) from error
    if not isinstance(network, nn.Module):
        raise PluginError(f"network '{entry.name}' returned {type(network).__name__}, expected a torch.nn.Module.")
    return network


def probe_on(objective: Objective, scan: Scan) -> Tensor:
    """The probe of a trained objective, scaled to the photons of a scan, complex ``(mode, y, x)``.

    Raises:
        CheckpointError: If the scan's frames are not of the size that the run was trained on.
    """
    probe = objective.probe.detach()
    if probe.shape[-1] != scan.n_pixels:
        raise CheckpointError(
            f"{scan.source}: frames of {scan.n_pixels} px, but the run was trained on frames of {probe.shape[-1]} px.",
            hint="Use a run trained on scans of this detector crop.",
        )
    return scale_probe(probe, float(probe.abs().square().sum()) * frame_photons(scan) / float(objective.photons[0]))


def build(
    config: Config,
    scans: tuple[Scan, ...],
    validation: tuple[Scan, ...] = (),
    *,
    network: NetworkEntry,
    start: Objective | None = None,
    replaced: int = 0,
    positions: Sequence[Tensor] = (),
    progress: Callable[[int, int], None] | None = None,
) -> Assembled:
    """Build everything that training needs from settings and scans.

    Args:
        config: The settings.
        scans: Training scans.
        validation: Validation scans; frames of the training scans are held out if there are none.
        network: The network that ``model.name`` names.
        start: A trained objective whose weights and probe to start from; its probe is not refined before training.
        replaced: A checkpoint will replace the probe, by one of so many modes, so none is searched for or refined.
        positions: Refined positions of all scans, where a checkpoint has them.
        progress: Called with (steps done, at most) while the probe and the positions are refined.

    Raises:
        PtychoError: If the scans do not fit together.
    """
    refuse_other_pixels((*scans, *validation))
    dtype, seed = real_type(config), config.training.seed
    auto: dict[str, float] = {}
    alpha = config.physics.alpha
    if alpha == "auto":
        alpha = auto["physics.alpha"] = auto_alpha(scans[0])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = build_network(network, config.model.options, NetworkContext(scans[0].n_pixels, alpha))
    withheld = config.loss.withheld
    if withheld == "auto":
        withheld = auto["loss.withheld"] = auto_withheld(scans[0], at_any_dose=isinstance(made, Starting))
    groups = build_groups(config, scans, validation, withheld=withheld)
    warmup: int | str = config.physics.probe_warmup if config.physics.refine_probe else 0
    modes = config.physics.probe_modes
    if start is not None:
        probe = probe_on(start, scans[0])
        refuse_idle_modes(config, len(probe), 0)
        warm = WarmProbe(with_modes(probe, modes or len(probe)), 0, "Weights and probe start from the run.")
    elif replaced:
        warm = WarmProbe(plain_probe(scans[0], dtype, replaced), 0, "")
    else:
        refuse_idle_modes(config, modes_wanted(scans[0], None), warmup)
        warm = warm_probe(
            scans[0], groups.held_out(0), warmup, alpha=alpha, seed=seed, dtype=dtype, modes=modes, progress=progress
        )  # fmt: skip
        if warmup == "auto":
            auto["physics.probe_warmup"] = warm.iterations
        if modes is None:
            auto["physics.probe_modes"] = len(warm.probe)
    notes = [warm.note] if warm.note else []
    if config.physics.refine_positions:
        search = PositionSearch(alpha, config.physics.max_position_shift_px, seed, dtype, progress, modes)
        again = None if start is not None or replaced else warmup
        scans, validation, warm, told = search.settle(scans, validation, warm, groups.held_out(0), again, positions)
        notes += told
        groups = build_groups(config, scans, validation, withheld=withheld)
    probe_rate = config.optimizer.probe_learning_rate if config.physics.refine_probe else 0.0
    if start is not None:
        made.load_state_dict(start.network.state_dict())
    everything = (*scans, *validation)
    objective = Objective(
        made,
        warm.probe,
        torch.tensor([frame_photons(scan) for scan in everything], dtype=dtype),
        canvas=groups.canvas,
        masks=torch.from_numpy(np.stack([scan.mask for scan in everything])),
        loss=config.loss.name,
        rates=(config.optimizer.learning_rate, probe_rate, config.optimizer.weight_decay),
        positions=[torch.from_numpy(scan.positions_px) for scan in everything if scan.stored_positions_px is not None],
    ).to(dtype)
    if isinstance(made, Starting):
        groups.start_from(MakeStart(made.relaxation, everything, objective.first_probe, seed))
    training, held_out = build_loaders(config, groups)
    return Assembled(objective, training, held_out, scans, groups, tuple(notes), auto)
