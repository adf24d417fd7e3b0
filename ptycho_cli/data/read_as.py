"""How the positions and frames of a scan were read, to which a setting that changes them is relative."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ptycho_cli.data.orientation import FRAME_TRANSFORMS, Orientation, composed, name_of, oriented_positions
from ptycho_cli.data.physical_units import length_text
from ptycho_cli.data.position_sequence import PositionSequence
from ptycho_cli.data.position_transform import Matrix, PositionTransform
from ptycho_cli.data.read_options import ReadOptions

TRANSFORM_SETTINGS = {  # the setting ``data.*`` of each attribute of a transformation
    "scale": "position_scale", "asymmetry": "scan_asymmetry", "rotation_deg": "scan_rotation_deg",
    "shear_deg": "scan_shear_deg",
}  # fmt: skip


@dataclass(frozen=True)
class ReadAs:
    """How positions and frames were read. Each method returns the settings that change them further.

    Attributes:
        order: Order of the stored columns of positions, ``yx`` or ``xy``.
        options: How the file was read otherwise.
        n_frames: Number of frames in the file; 0 where it is that of the scan.
        scale_from: Quantities that the scale of the positions follows from, each with its value in metres and the power
            with which the positions grow: ``("distance", 2.0, -1)``; empty where positions are stored in pixels.
    """

    order: str = "yx"
    options: ReadOptions = field(default_factory=ReadOptions)
    n_frames: int = 0
    scale_from: tuple[tuple[str, float, int], ...] = ()

    def axes_setting(self, orientation: Orientation) -> str:
        """Swap and reverse axes of the positions as they were read, before the transformation that followed."""
        options, (swap, _) = self.options, orientation
        before = "" if options.flip_positions == "none" else options.flip_positions
        _, after = composed((False, before), orientation)
        parts = [f"data.position_order={self.order[::-1]}"] if swap else []
        if (after or "none") != options.flip_positions:
            parts.append(f"data.flip_positions={after or 'none'}")
        change = oriented_positions(np.eye(2), orientation).T
        return " ".join([*parts, *self._differing(change @ options.position_transform.matrix @ change.T)])

    def frames_setting(self, orientation: Orientation) -> str:
        """Transform the frames as they were read."""
        both = composed(FRAME_TRANSFORMS[self.options.frame_transform], orientation)
        return f"data.frame_transform={name_of(both)}"

    def transform_setting(self, transform: PositionTransform) -> str:
        """Transform the positions as they were read."""
        return " ".join(self._differing(transform.matrix @ self.options.position_transform.matrix))

    def _differing(self, matrix: Matrix) -> list[str]:
        """Settings of a transformation with a matrix, but for those that have their value."""
        before, after = self.options.position_transform, PositionTransform.from_matrix(matrix)
        return [
            f"data.{name}={getattr(after, field):.4g}"
            for field, name in TRANSFORM_SETTINGS.items()
            if not np.isclose(getattr(after, field), getattr(before, field), rtol=1e-4, atol=1e-9)
        ]

    def cause_of_scale(self, factor: float) -> str:
        """Likely causes of a wrong scale of the positions, in one sentence."""
        if not self.scale_from:
            return "Positions are stored in pixels, perhaps of another size."
        causes = [
            f"a {name} of {length_text(value * factor**power)} (not {length_text(value)})"
            for name, value, power in self.scale_from
        ]
        return f"Likely causes: {', '.join(causes)}, or the calibration of the stage."

    def delay_setting(self, delay: int, first: int = 0) -> str:
        """Give each frame from a first one on the position of a later one, as they were read."""
        start = f" data.position_delay_from={first}" if first else ""
        return f"data.position_delay={self.options.position_delay + delay}{start}"

    def sequence_setting(self, sequence: PositionSequence) -> str:
        """Change the sequence of the positions, which is the stored one."""
        return f"data.position_sequence={sequence}"
