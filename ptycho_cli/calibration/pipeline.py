"""Calibration of scans before training: probe, intensities and background, positions, found by physics alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ptycho_cli.calibration.calibration_options import CalibrationOptions
from ptycho_cli.calibration.geometry_check import GeometryCheck
from ptycho_cli.calibration.initial_probe import unrefined_probe
from ptycho_cli.calibration.intensity_background import MAX_PATTERN_RATIO, MAX_RATIO, CorrectionSearch, correction_note
from ptycho_cli.calibration.misfit_frames import without_misfits
from ptycho_cli.calibration.position_refinement import Scans, place_scans
from ptycho_cli.calibration.probe_refinement import refine_probe
from ptycho_cli.calibration.probe_rounds import RefinedProbe
from ptycho_cli.calibration.scan_canvas import frame_photons
from ptycho_cli.data.background import is_pattern, mean_background
from ptycho_cli.data.findings.finding import Finding
from ptycho_cli.data.scan import Scan
from ptycho_cli.physics.modes import with_modes
from ptycho_cli.physics.probe import scale_probe
from ptycho_cli.progress_callback import Progress

# Intensities and background that are found with the file's probe must lower the deviance to this share of it without
# them. The probe may be rough, and they then explain its errors: on the measured star, a spread of 16 % rms lowered
# the deviance by 2 % that way.
MAX_RATIO_FILE_PROBE = 0.9
# Where the file's probe leaves more than this in units of photon noise and is refined, the geometry is tried: a refined
# probe takes up much of a wrong scale. Probes of good scans leave up to 1.2.
UNREFINED_RATIO = 1.5


@dataclass(frozen=True, eq=False)
class Known:
    """Results of a calibration that an earlier run or a checkpoint already has.

    Attributes:
        run_probe: Probe of a trained run, scaled to the first scan, complex ``(mode, y, x)``; it is not refined. None
            where training does not start from a run.
        checkpoint_modes: Modes of the probe in a checkpoint, which will replace probe, intensities and background, so
            that none of them is searched for; 0 where there is no checkpoint.
        positions: Refined positions of all scans, each ``(frame, 2)``; empty to search for them.
    """

    run_probe: Tensor | None = None
    checkpoint_modes: int = 0
    positions: Sequence[Tensor] = ()


@dataclass(frozen=True, eq=False)
class Calibration:
    """Scans with everything that was found of them.

    Attributes:
        scans: The scans, in the order given.
        probe: Probe of the first scan.
        notes: One line for people about each thing that was found.
        findings: Geometries that explain frames much better than those as read, of all scans. The ``findings`` of each
            scan hold its own.
        probes: Probe of each scan, complex ``(mode, y, x)``, where they were found one by one; else empty.
    """

    scans: Scans
    probe: RefinedProbe
    notes: list[str]
    findings: tuple[Finding, ...] = ()
    probes: tuple[Tensor, ...] = ()

    @property
    def positions_refined(self) -> bool:
        """Whether the positions of a scan were refined."""
        return any(scan.stored_positions_px is not None for scan in self.scans)


def calibrate(
    scans: Scans,
    held_out: Callable[[int], NDArray[np.bool_]],
    options: CalibrationOptions,
    known: Known | None = None,
    progress: Progress | None = None,
) -> Calibration:
    """Find the probe of the first scan, and the intensities, background and positions of all.

    Args:
        scans: The scans; the probe is that of the first.
        held_out: Called with the number of frames of the first scan: those that the probe must not be fitted to, bool
            ``(frame,)``.
        options: What to look for, and how.
        known: What is known already and is not searched for.
        progress: Called with (steps done, steps at most).
    """
    geometry = GeometryCheck(options.seed, options.refine_positions, progress)
    return _Calibrator(options, known or Known(), held_out, geometry, progress).run(scans)


@dataclass(frozen=True, eq=False)
class _Calibrator:
    """The steps of a calibration."""

    options: CalibrationOptions
    known: Known
    held_out: Callable[[int], NDArray[np.bool_]]
    geometry: GeometryCheck
    progress: Progress | None

    def run(self, scans: Scans) -> Calibration:
        options, known = self.options, self.known
        if options.background != "auto":
            scans = tuple(replace(scan, background=options.background) for scan in scans)
        probe, given = self._probe_of(scans[0]), scans
        if known.run_probe is None and probe.iterations:  # 0 also where a checkpoint replaces it
            scans = tuple(self._without_misfits(scan, probe.probe) for scan in scans)
            if scans[0].n_frames < given[0].n_frames:
                probe = self._probe_of(scans[0])
            if probe.unrefined_deviance > UNREFINED_RATIO * probe.noise_deviance:
                self.geometry.is_wrong(scans[0], probe.probe)  # the refined probe may have taken up what is wrong
            probe = self._refine_with_corrections(scans[0], probe)
        notes = [found.message for scan, before in zip(scans, given, strict=True) for found in scan.added_to(before)]
        notes += [probe.note] if probe.note else []
        scans = self._correct(scans, probe.probe)
        moved = [self.geometry.moves_frames(scan) for scan in scans]
        if known.positions or any(moved):
            again = None if known.run_probe is not None or known.checkpoint_modes else options.probe_iterations
            scans, probe, placed = place_scans(
                scans, moved, probe, self._held_out(scans[0]), options,
                probe_iterations=again, known=known.positions,
                geometry_is_wrong=partial(self.geometry.is_wrong, scans[0]), progress=self.progress,
            )  # fmt: skip
            notes += placed
            scans = self._correct(scans, probe.probe)
        notes += [note for scan in scans if (note := correction_note(scan)) is not None]
        findings = tuple(finding for scan in scans for finding in self.geometry.findings(scan))
        notes += [
            finding.message + ("" if finding.setting is None else f" Setting: {finding.setting}.")
            for finding in findings
        ]
        return Calibration(tuple(map(self.geometry.with_findings, scans)), probe, notes, findings)

    def _probe_of(self, scan: Scan) -> RefinedProbe:
        """The probe of the first scan: a run's, a stand-in for a checkpoint's, or the scan's own, refined."""
        options, given = self.options, self.known.run_probe
        if given is not None:
            probe = with_modes(given, options.probe_modes or len(given))
            changed = "" if len(probe) == len(given) else f" with {len(probe)} modes in place of {len(given)}"
            return RefinedProbe(probe, 0, f"Weights and probe start from the run{changed}.")
        if self.known.checkpoint_modes:
            return RefinedProbe(unrefined_probe(scan, options.dtype, self.known.checkpoint_modes), 0, "")
        return refine_probe(
            scan, self._held_out(scan), options.probe_iterations, update=options.update, seed=options.seed,
            dtype=options.dtype, modes=options.probe_modes,
            geometry_is_wrong=partial(self.geometry.is_wrong, scan), progress=self.progress,
        )  # fmt: skip

    def _held_out(self, scan: Scan) -> NDArray[np.int64]:
        """Rows of the frames that the probe must not be fitted to."""
        return np.flatnonzero(self.held_out(scan.n_frames))

    def _without_misfits(self, scan: Scan, probe: Tensor) -> Scan:
        """A scan without frames that fit nowhere, by a probe that was made or refined, at the photons of that scan."""
        options, probe = self.options, scale_probe(probe, frame_photons(scan))
        return without_misfits(scan, probe=probe, keep_moved=options.refine_positions is True, seed=options.seed)

    def _refine_with_corrections(self, scan: Scan, probe: RefinedProbe) -> RefinedProbe:
        """Refine the probe again with intensities and background, where the data ask for them.

        The file's probe shows whether they do: the refined one may have taken up part of their effect. But if it is
        rough, they take up its errors in turn; so those that the refined one finds are tried as well, and none.
        """
        search, file_probe = correction_search(self.options, self.progress), scan.probe is not None
        if file_probe:
            search = replace(search, max_ratio=MAX_RATIO_FILE_PROBE)
        start = unrefined_probe(scan, self.options.dtype) if file_probe else probe.probe
        found = search.find(scan, start)
        if not _is_corrected(found, scan) or self.geometry.is_wrong(scan, probe.probe):
            return probe
        again = self._probe_of(found)
        if file_probe and again.iterations:  # with the corrections, too, the file's probe is not right
            other = search.find(scan, probe.probe)
            refined = self._probe_of(other) if _is_corrected(other, scan) else probe
            if refined.deviance < again.deviance:
                again, found = refined, other
        needed = MAX_PATTERN_RATIO if is_pattern(found.background) else MAX_RATIO
        if again.deviance > needed * probe.deviance:
            return probe  # refined without them, it explains as much
        return replace(again, note=again.note_after(f"{correction_note(found)} With these corrections"))

    def _correct(self, scans: Scans, probe: Tensor) -> Scans:
        """Scans with intensities and background, unless a checkpoint has them."""
        if self.known.checkpoint_modes:
            return scans
        return tuple(corrected(scan, probe, self.options, self.geometry, self.progress) for scan in scans)


def _is_corrected(found: Scan, scan: Scan) -> bool:
    """Whether a search found intensities, or a background that the scan has not."""
    changed = is_pattern(found.background) or found.background != scan.background
    return found.intensities is not None or changed


def corrected(
    scan: Scan, probe: Tensor, options: CalibrationOptions, geometry: GeometryCheck, progress: Progress | None = None
) -> Scan:
    """The scan with the intensities and background that the data call for, unless another geometry explains more.

    Args:
        scan: The scan.
        probe: Its probe, complex ``(mode, y, x)``.
        options: What to look for.
        geometry: Asked where something is found that the user did not ask for.
        progress: Called with (turns done, turns at most).
    """
    search = correction_search(options, progress)
    found = search.find(scan, probe)
    chosen = (found.intensities is not None and options.intensity == "auto") or (
        options.background == "auto" and mean_background(found.background) > 0
    )
    if not chosen or not geometry.is_wrong(scan, probe):
        return found
    asked = replace(search, intensity="always" if options.intensity == "always" else "never",
                    background=0.0 if options.background == "auto" else options.background)  # fmt: skip
    return asked.find(scan, probe)


def correction_search(options: CalibrationOptions, progress: Progress | None = None) -> CorrectionSearch:
    """The search for intensities and background that the options ask for."""
    return CorrectionSearch(
        options.update, options.intensity, options.background, options.seed, progress,
        pattern=options.background_pattern,
    )  # fmt: skip
