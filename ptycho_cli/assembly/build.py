"""Everything that training needs, from settings and scans."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from pydantic import BaseModel
from torch import Tensor, nn

from ptycho_cli.assembly.auto_values import trains_probe, update_for, withheld_for
from ptycho_cli.assembly.calibration_settings import calibration_options, refuse_unrefined_modes
from ptycho_cli.assembly.group_loaders import build_groups, build_loaders, real_type
from ptycho_cli.assembly.initial_object import InitialObjects
from ptycho_cli.assembly.instruments import (
    calibrate_each,
    instruments_of,
    needs_probe_per_scan,
    refuse_mixed_batches,
)
from ptycho_cli.assembly.network_weights import NetworkWeights
from ptycho_cli.assembly.objective import Objective, intensities_of
from ptycho_cli.assembly.schedule import optimizer_rates
from ptycho_cli.calibration.calibration_options import CalibrationOptions
from ptycho_cli.calibration.pipeline import Calibration, Known, calibrate
from ptycho_cli.calibration.scan_canvas import frame_photons
from ptycho_cli.config.schema import Config, LossSettings, PhysicsSettings
from ptycho_cli.data.background import mean_background
from ptycho_cli.data.groups import Groups, held_out_frames, refuse_other_sizes
from ptycho_cli.data.loader import GroupLoader, GroupSource
from ptycho_cli.data.scan import Scan
from ptycho_cli.data.scan_checks import refuse_other_pixels
from ptycho_cli.errors import PluginError
from ptycho_cli.extend.attribution import call_factory
from ptycho_cli.extend.specs import NetworkContext, NetworkEntry
from ptycho_cli.networks.contract import PhysicsInitialised
from ptycho_cli.progress_callback import Progress


@dataclass(frozen=True, eq=False)
class Assembled:
    """Objects that a training needs.

    Attributes:
        objective: Network, probe and likelihood.
        training_loader: Training batches.
        validation_loader: Validation batches; None if nothing is held out.
        scans: The training scans.
        groups: Frames that are trained on, and frames that are held out.
        notes: Results of the calibration, one line each.
        resolved_auto: Values that replaced ``auto``, by key.
        weights: Weights that the network started from; None for random ones, or those of a run.
    """

    objective: Objective
    training_loader: GroupLoader
    validation_loader: GroupLoader | None
    scans: tuple[Scan, ...]
    groups: GroupSource
    notes: tuple[str, ...]
    resolved_auto: dict[str, float]
    weights: NetworkWeights | None = None


def build_network(entry: NetworkEntry, options: BaseModel, context: NetworkContext) -> nn.Module:
    """Build a network through its plugin's factory, with weights from torch's global generator.

    Raises:
        PluginError: If the factory fails, or does not return a network.
    """
    title = f"network '{entry.name}'"
    network = call_factory(partial(entry.build, context, options), title, "Choose another with model.name")
    if not isinstance(network, nn.Module):
        raise PluginError(f"{title} returned {type(network).__name__}, expected a torch.nn.Module.")
    return network


def build(
    config: Config,
    scans: tuple[Scan, ...],
    validation: tuple[Scan, ...] = (),
    *,
    network: NetworkEntry,
    start: Objective | None = None,
    weights: NetworkWeights | None = None,
    checkpoint_modes: int = 0,
    checkpoint_trains_probe: bool | None = None,
    positions: Sequence[Tensor] = (),
    progress: Progress | None = None,
) -> Assembled:
    """Build everything that training needs from settings and scans.

    Args:
        config: The settings.
        scans: Training scans.
        validation: Validation scans; frames of the training scans are held out if there are none.
        network: The network that ``model.name`` names.
        start: Trained objective whose weights and probe to start from; its probe is not refined before training.
        weights: Weights that the network starts from; a start or a checkpoint replaces them.
        checkpoint_modes: Number of probe modes in a checkpoint, which will replace probe, intensities and background,
            so that none of them is searched for; 0 if there is no checkpoint.
        checkpoint_trains_probe: Whether the training of the checkpoint trains the probe; None without a checkpoint.
        positions: Refined positions of all scans, each ``(frame, 2)``, where a checkpoint has them.
        progress: Called with (steps done, steps at most) while probe and positions are refined.

    Raises:
        PtychoError: If the scans do not fit together, or nothing would refine the probe modes that are asked for.
    """
    each = needs_probe_per_scan(config.physics, (*scans, *validation))
    if not each:
        refuse_other_sizes((*scans, *validation))
        refuse_other_pixels((*scans, *validation))
    training, physics, dtype = config.training, config.physics, real_type(config.execution)
    rates = optimizer_rates(config.optimizer, refine_probe=physics.refine_probe)
    update = update_for(physics, scans[0])
    context = NetworkContext(scans[0].n_pixels, update)
    model = seeded_network(network, config.model.options, context, training.seed)
    withheld = withheld_for(config.loss, scans[0], at_any_dose=isinstance(model, PhysicsInitialised))
    make_groups = partial(build_groups, config.data, training, withheld=withheld, dtype=dtype)
    options = calibration_options(physics, update, seed=training.seed, dtype=dtype)
    known = Known(None if start is None else start.probe_for(scans[0]), checkpoint_modes, positions)
    if start is not None or not checkpoint_modes:
        refuse_unrefined_modes(options, scans[0], known.run_probe, trained=rates.probe > 0)
    n_training, fraction = len(scans), 0.0 if validation else config.data.validation_fraction
    if each:
        wanted = [
            replace(options, update=update_for(physics, scan), background_pattern=False)
            for scan in (*scans, *validation)
        ]
        calibration = calibrate_each((*scans, *validation), n_training, fraction, wanted, progress)
        refuse_mixed_batches(training, calibration)
    else:
        held_out = partial(held_out_frames, fraction=fraction, seed=training.seed)
        calibration = calibrate((*scans, *validation), held_out, options, known, progress)
    scans, validation = calibration.scans[:n_training], calibration.scans[n_training:]
    groups = make_groups(scans, validation, instruments=instruments_of(calibration))
    if weights is not None:
        weights.load_into(model)
    if start is not None:
        model.load_state_dict(start.network.state_dict())
    found = None if start is not None else calibration.probe
    refine = trains_probe(physics, scans[0], found, withheld=withheld, resumed=checkpoint_trains_probe)
    train_probe = rates.probe > 0 and refine and not each
    objective = _objective(model, calibration, groups, loss=config.loss.name, train_probe=train_probe, dtype=dtype)
    if isinstance(model, PhysicsInitialised):
        groups.use_initial_objects(
            InitialObjects(model, calibration.scans, objective, training.seed, calibration.probes)
        )
    loaders = build_loaders(training, groups, workers=config.execution.num_workers)
    auto = _resolved_auto(physics, config.loss, options, withheld, known, calibration)
    if physics.refine_probe == "auto" and not each:
        auto["physics.refine_probe"] = refine
    if physics.refine_positions == "auto":
        auto["physics.refine_positions"] = calibration.positions_refined
    return Assembled(objective, *loaders, scans, groups, tuple(calibration.notes), auto, weights)


def seeded_network(entry: NetworkEntry, options: BaseModel, context: NetworkContext, seed: int) -> nn.Module:
    """A network whose weights depend on the seed alone; torch's global generator stays as it is."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build_network(entry, options, context)


def _objective(
    network: nn.Module, calibration: Calibration, groups: Groups, *, loss: str, train_probe: bool, dtype: torch.dtype
) -> Objective:
    """The objective of calibrated scans."""
    scans = calibration.scans
    return Objective(
        network,
        calibration.probe.probe,
        torch.tensor([frame_photons(scan) for scan in scans], dtype=dtype),
        canvas=groups.canvas,
        masks=None if calibration.probes else torch.from_numpy(np.stack([scan.mask for scan in scans])),
        loss=loss,
        train_probe=train_probe,
        positions=[torch.from_numpy(scan.positions_px) for scan in scans if calibration.positions_refined],
        intensities=intensities_of(scans),
        background=_backgrounds(scans).to(dtype),
    ).to(dtype)


def _backgrounds(scans: Sequence[Scan]) -> Tensor:
    """Background of each scan, ``(scan,)``; patterns, ``(scan, y, x)``, where one of them has one."""
    found = [scan.background for scan in scans]
    return torch.from_numpy(np.stack(np.broadcast_arrays(*found)).astype(np.float64))


def _resolved_auto(
    physics: PhysicsSettings,
    loss: LossSettings,
    options: CalibrationOptions,
    withheld: float,
    known: Known,
    calibration: Calibration,
) -> dict[str, float]:
    """Values that replaced ``auto``, by key; those of a checkpoint are not known yet."""
    auto: dict[str, float] = {}
    if physics.alpha == "auto":
        auto["physics.alpha"] = options.update.alpha
    if loss.withheld == "auto":
        auto["loss.withheld"] = withheld
    if calibration.probes and physics.probe_per_scan == "auto":
        auto["physics.probe_per_scan"] = True
    if known.checkpoint_modes:
        return auto
    if known.run_probe is None and options.probe_iterations == "auto":
        auto["physics.probe_warmup"] = calibration.probe.iterations
    if known.run_probe is None and options.probe_modes is None:
        auto["physics.probe_modes"] = len(calibration.probe.probe)
    if options.background == "auto":
        auto["physics.background"] = mean_background(calibration.scans[0].background)
    return auto
