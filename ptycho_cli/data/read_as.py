"""How the positions and frames of a scan were read, to which a setting that changes them is relative."""

from __future__ import annotations

from dataclasses import dataclass, field

from ptycho_cli.data.orientation import FRAME_TRANSFORMS, Orientation, composed, name_of
from ptycho_cli.data.physical_units import length_text
from ptycho_cli.data.position_sequence import PositionSequence
from ptycho_cli.data.read_options import ReadOptions


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
        """Swap and reverse axes of the positions as they were read.

        A rotation is applied after the flips; it changes its sense where the axes change their handedness.
        """
        options, (swap, flips) = self.options, orientation
        before = "" if options.flip_positions == "none" else options.flip_positions
        _, after = composed((False, before), orientation)
        parts = [f"data.position_order={self.order[::-1]}"] if swap else []
        if (after or "none") != options.flip_positions:
            parts.append(f"data.flip_positions={after or 'none'}")
        if options.scan_rotation_deg and swap != (len(flips) == 1):
            parts.append(f"data.scan_rotation_deg={-options.scan_rotation_deg:.4g}")
        return " ".join(parts)

    def frames_setting(self, orientation: Orientation) -> str:
        """Transform the frames as they were read."""
        both = composed(FRAME_TRANSFORMS[self.options.frame_transform], orientation)
        return f"data.frame_transform={name_of(both)}"

    def rotation_setting(self, angle_deg: float) -> str:
        """Rotate the positions as they were read."""
        angle = (self.options.scan_rotation_deg + angle_deg + 180) % 360 - 180
        return f"data.scan_rotation_deg={angle:.4g}"

    def scale_setting(self, factor: float) -> str:
        """Stretch the positions as they were read."""
        return f"data.position_scale={self.options.position_scale * factor:.4g}"

    def cause_of_scale(self, factor: float) -> str:
        """Likely causes of a wrong scale of the positions, in one sentence."""
        if not self.scale_from:
            return "Positions are stored in pixels, perhaps of another size."
        causes = [
            f"a {name} of {length_text(value * factor**power)} (not {length_text(value)})"
            for name, value, power in self.scale_from
        ]
        return f"Likely causes: {', '.join(causes)}, or the calibration of the stage."

    def delay_setting(self, delay: int) -> str:
        """Give each frame the position of a later one, as they were read."""
        return f"data.position_delay={self.options.position_delay + delay}"

    def sequence_setting(self, sequence: PositionSequence) -> str:
        """Change the sequence of the positions, which is the stored one."""
        return f"data.position_sequence={sequence}"
