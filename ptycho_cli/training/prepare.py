"""From settings to scans and an assembled objective, before any folder is created."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from ptycho_cli.assembly.build import Assembled, build
from ptycho_cli.assembly.device import torch_device
from ptycho_cli.assembly.objective import Objective
from ptycho_cli.assembly.scans import read_scans
from ptycho_cli.config.schema import Config
from ptycho_cli.data.scan_checks import refuse_few_frames
from ptycho_cli.extend.specs import NetworkEntry
from ptycho_cli.progress_callback import Progress


def prepare(
    config: Config,
    network: NetworkEntry,
    *,
    resumed: int = 0,
    positions: Sequence[Tensor] = (),
    start: Objective | None = None,
    progress: Progress | None = None,
) -> Assembled:
    """Read the scans and build what a training needs, before any folder is created.

    Args:
        config: The settings.
        network: The network that ``model.name`` names.
        resumed: Number of probe modes in the checkpoint, so that no probe is refined here; 0 without a checkpoint.
        positions: Refined positions (y, x) in pixels of the scans, if the checkpoint has them.
        start: A trained objective whose weights and probe to start from.
        progress: Called with (iterations done, at most) while the probe is refined.

    Raises:
        ConfigError: If the requested accelerator is missing; checked before anything is computed.
        DataError: If a scan cannot be used.
    """
    torch_device(config.execution)
    scans = read_scans(config.data.paths, config.data)
    for scan in scans:
        refuse_few_frames(scan)
    validation = read_scans(config.data.validation_paths, config.data)
    return build(
        config,
        scans,
        validation,
        network=network,
        start=start,
        replaced=resumed,
        positions=positions,
        progress=progress,
    )
