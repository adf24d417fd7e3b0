"""Training on a stream of simulated scans: the recipe file, and everything that the training needs."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from ptycho_cli.assembly.auto_values import update_for
from ptycho_cli.assembly.build import Assembled, seeded_network
from ptycho_cli.assembly.group_loaders import build_loaders, real_type
from ptycho_cli.assembly.network_weights import NetworkWeights
from ptycho_cli.assembly.objective import Objective, intensities_of
from ptycho_cli.calibration.relaxed_object import Start, relaxed_object
from ptycho_cli.calibration.scan_canvas import frame_photons
from ptycho_cli.config.files import plain_values
from ptycho_cli.config.nearest import did_you_mean
from ptycho_cli.config.schema import Config
from ptycho_cli.config.values import show
from ptycho_cli.data.photon_thinning import InitialObject
from ptycho_cli.data.scan import Scan
from ptycho_cli.data.simulated_groups import SimulatedGroups
from ptycho_cli.data.simulation_recipe import Recipe, simulated_scan
from ptycho_cli.errors import CheckpointError, ConfigError
from ptycho_cli.extend.specs import NetworkContext, NetworkEntry
from ptycho_cli.networks.contract import PhysicsInitialised
from ptycho_cli.plugin_code import one_line

GROUPS_IN_AN_EPOCH = 256


def read_recipe(path: str) -> Recipe:
    """Read a recipe of simulated scans.

    Raises:
        ConfigError: If the file cannot be read, or a key or a value of it cannot be used.
        PtychoError: If a file that it names cannot be used.
    """
    try:
        recipe = Recipe.model_validate(plain_values(path))
    except ValidationError as error:
        first = error.errors()[0]
        key = str(first["loc"][0])
        if first["type"] == "extra_forbidden":
            keys = tuple(Recipe.model_fields)
            near = did_you_mean(key, keys) or f"The keys are {', '.join(keys)}."
            raise ConfigError(f"{path}: {key}: not a key of a recipe.", hint=near) from None
        reason = first["msg"].removeprefix("Value error, ")
        raise ConfigError(f"{path}: {key} is {show(first['input'])}: {reason}.") from None
    recipe.check_files()
    return recipe


def recipe_scan(config: Config) -> Scan:
    """The first scan of the recipe that ``data.simulate`` names, which is reconstructed at the end of the training.

    Raises:
        ConfigError: If the recipe cannot be used.
    """
    assert config.data.simulate is not None
    return _first_scan(read_recipe(config.data.simulate), config)


def _first_scan(recipe: Recipe, config: Config) -> Scan:
    made = simulated_scan(recipe, config.training.seed, 0)
    return replace(made.scan, source=str(config.data.simulate))  # so that the record of the run has the file's hash


def build_simulated(
    config: Config,
    *,
    network: NetworkEntry,
    start: nn.Module | None = None,
    weights: NetworkWeights | None = None,
    resumed: Mapping[str, Tensor] | None = None,
) -> Assembled:
    """Build what a training on the recipe ``data.simulate`` needs.

    Args:
        config: The settings.
        network: The network that ``model.name`` names.
        start: A trained network to start from.
        weights: Weights that the network starts from.
        resumed: State of the network in the checkpoint that is continued, which finds the initial objects; None without
            one.

    Raises:
        ConfigError: If the recipe cannot be used.
        CheckpointError: If the state does not fit the network.
    """
    assert config.data.simulate is not None
    training, dtype = config.training, real_type(config.execution)
    recipe = read_recipe(config.data.simulate)
    scan = _first_scan(recipe, config)
    assert scan.probe is not None
    update = update_for(config.physics, scan)
    model = seeded_network(network, config.model.options, NetworkContext(recipe.size, update), training.seed)
    if weights is not None:
        weights.load_into(model)
    if start is not None:
        model.load_state_dict(start.state_dict())
    if resumed is not None:
        try:
            model.load_state_dict(dict(resumed))
        except RuntimeError as problem:
            found = f"the checkpoint does not fit the network {network.name}: {one_line(problem)}."
            raise CheckpointError(found, hint="Copy another checkpoint over it, or train the run again.") from None
    n_groups, with_object = training.n_groups or GROUPS_IN_AN_EPOCH, config.loss.name == "object"
    groups = SimulatedGroups(recipe, n_groups, training.seed, dtype, with_object)
    if isinstance(model, PhysicsInitialised):
        apart = copy.deepcopy(model).to(dtype)  # for worker processes, wherever the network itself computes
        groups.make_initial_object = partial(_initial_object, apart.start, dtype)
    objective = Objective(
        model,
        torch.from_numpy(scan.probe),
        torch.tensor([frame_photons(scan)], dtype=dtype),
        canvas=groups.canvas,
        masks=torch.from_numpy(np.stack([scan.mask])),
        loss=config.loss.name,
        intensities=intensities_of([scan]),
        background=torch.tensor([scan.background], dtype=dtype),
        relative=True,
    ).to(dtype)
    loaders = build_loaders(training, groups, workers=config.execution.num_workers)
    auto = {"physics.alpha": update.alpha} if config.physics.alpha == "auto" else {}
    return Assembled(objective, *loaders, (scan,), groups, (), auto, weights)


def _initial_object(start: Start, dtype: torch.dtype, scan: Scan) -> InitialObject:
    assert scan.probe is not None
    complex_type = torch.complex128 if dtype == torch.float64 else torch.complex64
    return relaxed_object(start, scan, torch.from_numpy(scan.probe).to(complex_type))
