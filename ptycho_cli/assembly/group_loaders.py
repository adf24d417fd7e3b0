"""Groups and loaders from settings."""

from __future__ import annotations

import torch

from ptycho_cli.config.schema import Config
from ptycho_cli.data.groups import Groups
from ptycho_cli.data.loader import GroupLoader
from ptycho_cli.data.scan import Scan


def real_type(config: Config) -> torch.dtype:
    """Type of real numbers that ``execution.precision`` asks for."""
    return torch.float64 if config.execution.precision == "64-true" else torch.float32


def build_groups(config: Config, scans: tuple[Scan, ...], validation: tuple[Scan, ...], *, withheld: float) -> Groups:
    """Groups of the training scans, and of the validation scans if there are any."""
    return Groups(
        scans,
        group_size=config.data.group_size,
        n_groups=config.training.n_groups,
        seed=config.training.seed,
        validation_fraction=config.data.validation_fraction,
        withheld=withheld,
        validation_scans=validation,
        dtype=real_type(config),
    )


def build_loaders(config: Config, groups: Groups) -> tuple[GroupLoader, GroupLoader | None]:
    """The training loader, and the validation loader if anything is held out."""
    workers = config.execution.num_workers
    training = GroupLoader(groups, config.training.batch_size, num_workers=workers)
    if not groups.n_validation:
        return training, None
    return training, GroupLoader(groups, config.training.batch_size, validation=True, num_workers=workers)
