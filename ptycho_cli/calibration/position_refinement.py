"""Refined positions of scans before training, and the probe refined again at them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ptycho_cli.calibration.calibration_options import CalibrationOptions
from ptycho_cli.calibration.initial_probe import unrefined_probe
from ptycho_cli.calibration.position_search import refine_positions
from ptycho_cli.calibration.probe_refinement import refine_probe
from ptycho_cli.calibration.probe_rounds import RefinedProbe
from ptycho_cli.calibration.scan_canvas import frame_photons
from ptycho_cli.data.scan import Scan
from ptycho_cli.physics.probe import scale_probe
from ptycho_cli.progress_callback import Progress

Scans = tuple[Scan, ...]


def with_positions(scan: Scan, positions_px: NDArray[np.float64]) -> Scan:
    """The scan at refined positions (y, x), in pixels, ``(frame, 2)``; it keeps the stored ones if they are others."""
    if np.array_equal(positions_px, scan.positions_px):
        return scan
    return replace(scan, positions_px=positions_px, stored_positions_px=scan.positions_px)


def place_scans(
    scans: Scans,
    moved: Sequence[bool],
    refined: RefinedProbe,
    held_out: NDArray[np.int64],
    options: CalibrationOptions,
    *,
    probe_iterations: int | Literal["auto"] | None,
    known: Sequence[Tensor] = (),
    geometry_is_wrong: Callable[[Tensor], bool] | None = None,
    progress: Progress | None = None,
) -> tuple[Scans, RefinedProbe, list[str]]:
    """Refine the positions of scans, and then the probe of the first.

    The file's probe is tried first, however little it explains: at wrong positions a right probe explains little.

    Args:
        scans: The scans.
        moved: Which of them to refine the positions of; the others stay as they are.
        refined: The probe of the first scan at the stored positions.
        held_out: Frames of the first scan that the probe must not be fitted to.
        options: How to refine positions and probe.
        probe_iterations: Iterations that refine the probe at the new positions; None leaves the probe as it is.
        known: Positions of all scans that were refined before, each ``(frame, 2)``; empty to search for them.
        geometry_is_wrong: As for ``refine_probe``.
        progress: Called with (steps done, steps at most).

    Returns:
        Scans at their refined positions, the probe for them, and notes for people.
    """
    if known:
        placed = [with_positions(scan, at.double().cpu().numpy()) for scan, at in zip(scans, known, strict=True)]
        return tuple(placed), refined, []
    probes = (
        [unrefined_probe(scans[0], options.dtype)]
        if scans[0].probe is not None and probe_iterations is not None
        else []
    )
    if not refined.file_probe_explains:
        probes.append(refined.probe)
    for probe in probes:
        placed, notes = _placed(scans, moved, probe, options, progress)
        if probe_iterations is None or not moved[0]:
            break
        first = replace(placed[0], probe=probe.cpu().numpy())
        refined = refine_probe(
            first, held_out, probe_iterations,
            update=options.update, seed=options.seed, dtype=options.dtype, modes=options.probe_modes,
            geometry_is_wrong=geometry_is_wrong,
        )  # fmt: skip
        if refined.file_probe_explains:
            break
    if probe_iterations is not None and moved[0]:
        notes.append(refined.note_after("At the refined positions"))
    return tuple(placed), refined, notes


def _placed(
    scans: Scans, moved: Sequence[bool], probe: Tensor, options: CalibrationOptions, progress: Progress | None
) -> tuple[list[Scan], list[str]]:
    """Scans at the positions that a probe, scaled to the photons of each, explains best; and how far they moved."""
    placed, notes = list(scans), []
    for number in np.flatnonzero(moved):
        scan = scans[number]
        found = refine_positions(
            scan, scale_probe(probe, frame_photons(scan)),
            update=options.update, max_shift_px=options.max_position_shift_px, seed=options.seed, progress=progress,
        )  # fmt: skip
        length = np.linalg.norm(found - scan.positions_px, axis=1)
        rms = float(np.sqrt(np.mean(length**2)))
        notes.append(f"{scan.source}: positions moved by {rms:.3g} px rms and {length.max():.3g} px at most.")
        placed[number] = with_positions(scan, found)
    return placed, notes
