"""Positions to reconstruct a scan at, for a run that refines them."""

from __future__ import annotations

from collections.abc import Callable

from ptycho_cli.assembly.network import Objective, probe_on
from ptycho_cli.assembly.physics import auto_alpha
from ptycho_cli.assembly.positions import moved
from ptycho_cli.assembly.search import refine_positions
from ptycho_cli.config.schema import Config
from ptycho_cli.data.scan import Scan


def placed(
    objective: Objective,
    config: Config,
    scan: Scan,
    training_scan: int | None,
    progress: Callable[[int, int], None] | None = None,
) -> Scan:
    """The scan at the positions that the run found in training, or at such as are found for it now.

    Args:
        objective: Network and probe of the run, and the positions of its training scans.
        config: Settings of the run.
        scan: The scan.
        training_scan: Its number among the scans that the run was trained on; None if it was not.
        progress: Called with (steps done, steps at most).
    """
    known = getattr(objective, f"positions_{training_scan}", None)
    if known is not None and len(known) == scan.n_frames:
        return moved(scan, known.double().cpu().numpy())
    alpha = auto_alpha(scan) if config.physics.alpha == "auto" else config.physics.alpha
    probe = probe_on(objective, scan).detach()
    found = refine_positions(
        scan, probe, alpha=alpha, most_px=config.physics.max_position_shift_px, seed=config.training.seed,
        progress=progress,
    )  # fmt: skip
    return moved(scan, found)
