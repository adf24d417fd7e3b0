"""Pictures of a report, in sections: object, fit, frames, uncertainty."""

from __future__ import annotations

import numpy as np

from ptycho_cli.assembly.picture_style import recorded_style
from ptycho_cli.data.reconstruction import Reconstruction
from ptycho_cli.render import report_figures as figures
from ptycho_cli.render.inline_svg import Picture
from ptycho_cli.render.plotting import PictureStyle
from ptycho_cli.render.training_curves import Curves, curves_of
from ptycho_cli.render.uncertainty_figure import FrameMap, Rings
from ptycho_cli.reporting.report_source import ReportSource

Parts = list[dict[str, object]]


def pictures_of(source: ReportSource) -> Parts:
    """Sections with ``id``, ``heading`` and ``pictures``; those without a picture are left out."""
    result, style = source.result, recorded_style(source.own_record.get("config") or {})
    sections = {
        "object": (
            "Object and probe",
            [] if result is None else _object(result, style),
        ),
        "training": ("Training", _training(source)),
        "frames": ("Frames", [] if result is None else _frames(result)),
        "uncertainty": ("Uncertainty", [] if result is None else _uncertainty(result)),
    }
    return [{"id": id, "heading": head, "pictures": found} for id, (head, found) in sections.items() if found]


def _object(result: Reconstruction, style: PictureStyle) -> list[Picture]:
    left_out = None if result.left_out is None else result.left_out.positions_px - result.object_origin_px
    return figures.object_pictures(result.object, result.probe, result.coverage, result.object_pixel_m, left_out, style)


def curves_of_source(source: ReportSource) -> Curves | None:
    """The curves of a training, with what photon noise alone leaves; None without logged metrics."""
    floor = None if source.verdict is None else source.verdict.get("expected_deviance")
    curves = curves_of(source.metrics, float(floor) if isinstance(floor, (int, float)) else None)
    return curves if curves.steps else None


def _training(source: ReportSource) -> list[Picture]:
    curves = curves_of_source(source)
    return [] if curves is None else [figures.training_picture(curves)]


def _frames(result: Reconstruction) -> list[Picture]:
    found, examples = [], result.examples
    if examples is not None:
        names = [
            f"frame {number}, {role}\nR-factor {residual:.3g}"
            for number, role, residual in zip(examples.numbers, examples.roles, examples.residuals, strict=True)
        ]
        found.append(figures.frames_picture(names, examples.measured, examples.modelled))
    if result.stored_positions_px is not None:
        found.append(figures.shift_picture(result.stored_positions_px, result.positions_px))
    if result.frame_residual is not None:
        held_out = np.zeros(0, np.int64) if result.uncertainty is None else result.uncertainty.held_out
        frames = FrameMap(result.positions_px, result.frame_residual, held_out)
        found.append(figures.residual_picture(frames, result.object_pixel_m))
    return found


def _uncertainty(result: Reconstruction) -> list[Picture]:
    known = result.uncertainty
    if known is None:
        return []
    cuts = {"0.5": known.frc50_nyquist, "1/7": known.frc143_nyquist, "half-bit": known.frc_half_bit_nyquist}
    rings = Rings(known.ring_radius, known.ring_correlation, known.ring_half_bit, cuts)
    return figures.uncertainty_pictures(known.amplitude_spread, known.phase_spread_rad, rings, result.object_pixel_m)
