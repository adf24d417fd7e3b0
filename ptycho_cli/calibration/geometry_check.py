"""The question that comes before modes, intensities and background: does another geometry explain the frames?

With wrong axes or a wrong scale, almost any freedom that is added to the model explains frames better. So wherever a
calibration is about to add modes or corrections, the geometry is tried first, once for each scan.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from torch import Tensor

from ptycho_cli.calibration.geometry_trials import geometry_findings
from ptycho_cli.data.findings.finding import Finding, refuse_errors
from ptycho_cli.data.scan import Scan
from ptycho_cli.progress_callback import Progress

KEEP_POSITIONS = "physics.refine_positions=false"


@dataclass(frozen=True, eq=False)
class GeometryCheck:
    """Trials of other geometries, at most once for each scan.

    Attributes:
        seed: Which frames are left out.
        refine_positions: The user's setting. Where positions are refined anyway, wrong ones of single frames are not
            looked for.
        progress: Called with (trials done, trials at most).
    """

    seed: int
    refine_positions: bool | Literal["auto"]
    progress: Progress | None = None
    _found: dict[int, tuple[Finding, ...]] = field(default_factory=dict)

    def is_wrong(self, scan: Scan, probe: Tensor) -> bool:
        """Try other geometries of a scan, unless that was done, and return True if one explains frames much better.

        Args:
            scan: The scan; corrections and other probes of it are the same scan.
            probe: A probe that was refined for the geometry as read, complex ``(mode, y, x)``.

        Raises:
            DataError: If the user's settings make such a finding an error.
        """
        key = id(scan.counts)
        if key not in self._found:
            plain = replace(scan, intensities=None, background=0.0)
            found = geometry_findings(
                plain, probe=probe.detach().cpu(), move_frames=self.refine_positions is not True, seed=self.seed,
                progress=self.progress,
            )  # fmt: skip
            refuse_errors(scan.source, found)
            self._found[key] = tuple(found)
        return any(finding.severity != "fixed" for finding in self._found[key])

    def moves_frames(self, scan: Scan) -> bool:
        """Whether to refine the positions of a scan: where nothing else explains it, that is told as mended."""
        if self.refine_positions != "auto":
            return self.refine_positions
        found = self.findings(scan)
        if not any(finding.id == "positions-error" for finding in found):
            return False
        self._found[id(scan.counts)] = tuple(
            replace(
                finding,
                severity="fixed",
                setting=KEEP_POSITIONS,
                message=f"{finding.message} The positions are refined.",
            )
            for finding in found
        )
        return True

    def with_findings(self, scan: Scan) -> Scan:
        """The scan with what was found of it."""
        if id(scan.counts) not in self._found:
            return scan
        return replace(scan, findings=(*scan.findings, *self.findings(scan)), geometry_tried=True)

    def findings(self, scan: Scan) -> tuple[Finding, ...]:
        """What was found of a scan; empty where nothing was tried."""
        return self._found.get(id(scan.counts), ())
