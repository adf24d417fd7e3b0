"""Groups of frames and their loaders, from settings."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ptycho_cli.config.data_settings import DataSettings
from ptycho_cli.config.schema import ExecutionSettings, TrainingSettings
from ptycho_cli.data.groups import Groups, Instrument
from ptycho_cli.data.loader import GroupLoader, GroupSource
from ptycho_cli.data.scan import Scan


def real_type(execution: ExecutionSettings) -> torch.dtype:
    """Type of real numbers that ``execution.precision`` asks for."""
    return torch.float64 if execution.precision == "64-true" else torch.float32


def build_groups(
    data: DataSettings,
    training: TrainingSettings,
    scans: tuple[Scan, ...],
    validation: tuple[Scan, ...],
    *,
    withheld: float,
    dtype: torch.dtype,
    instruments: Sequence[Instrument] = (),
) -> Groups:
    """Groups of the training scans, and of the validation scans if there are any.

    Args:
        data: Size of the groups, and share of the held-out frames.
        training: Number of groups, and seed.
        scans: Training scans.
        validation: Validation scans.
        withheld: Share of the photons that the network does not see.
        dtype: Type of real numbers.
        instruments: Of each scan, where they do not share one.
    """
    return Groups(
        scans,
        group_size=data.group_size,
        n_groups=training.n_groups,
        seed=training.seed,
        validation_fraction=data.validation_fraction,
        withheld=withheld,
        validation_scans=validation,
        dtype=dtype,
        instruments=instruments,
    )


def build_loaders(
    training: TrainingSettings, groups: GroupSource, *, workers: int
) -> tuple[GroupLoader, GroupLoader | None]:
    """The training loader, and the validation loader if anything is held out."""
    loader = GroupLoader(groups, training.batch_size, num_workers=workers)
    if not groups.n_validation:
        return loader, None
    return loader, GroupLoader(groups, training.batch_size, validation=True, num_workers=workers)
