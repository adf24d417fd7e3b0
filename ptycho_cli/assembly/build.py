"""Everything that training needs, from settings and scans."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from pydantic import BaseModel
from torch import Tensor, nn

from ptycho_cli.assembly.group_loaders import build_groups, build_loaders, real_type
from ptycho_cli.assembly.initial_object import MakeStart
from ptycho_cli.assembly.objective import Objective, intensities_of
from ptycho_cli.calibration.exposure import auto_alpha, auto_withheld, frame_photons
from ptycho_cli.calibration.pipeline import Before
from ptycho_cli.config.schema import Config
from ptycho_cli.data.groups import Groups
from ptycho_cli.data.loader import GroupLoader
from ptycho_cli.data.scan import Scan
from ptycho_cli.data.scan_checks import refuse_other_pixels
from ptycho_cli.errors import CheckpointError, PluginError, PtychoError
from ptycho_cli.extend.specs import NetworkContext, NetworkEntry
from ptycho_cli.networks.contract import Starting
from ptycho_cli.physics.probe import scale_probe


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
    probe = None if start is None else probe_on(start, scans[0])
    before = Before(config, alpha, dtype, probe, replaced, positions, progress)
    settled = before.settle(scans, validation, groups.held_out(0))
    if settled.scans[0].positions_px is not scans[0].positions_px:
        groups = build_groups(config, settled.scans, settled.validation, withheld=withheld)
    scans, validation, warm = settled.scans, settled.validation, settled.warm
    if probe is None and not replaced and before.iterations == "auto":
        auto["physics.probe_warmup"] = warm.iterations
    if probe is None and not replaced and config.physics.probe_modes is None:
        auto["physics.probe_modes"] = len(warm.probe)
    if config.physics.background == "auto" and not replaced:
        auto["physics.background"] = scans[0].background
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
        intensities=intensities_of(everything),
        background=torch.tensor([scan.background for scan in everything], dtype=dtype),
    ).to(dtype)
    if isinstance(made, Starting):
        groups.start_from(MakeStart(made.relaxation, everything, objective, seed))
    training, held_out = build_loaders(config, groups)
    return Assembled(objective, training, held_out, scans, groups, tuple(settled.notes), auto)
