"""The figures of a report, as SVG inside its page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ptycho_cli.render.frame_figure import Frames, draw_frames
from ptycho_cli.render.inline_svg import Picture, new_figure, page_style, svg_of
from ptycho_cli.render.plotting import DEFAULT_STYLE, Complex, Image, Mask, PictureStyle, flattened_phase
from ptycho_cli.render.position_shift_figure import Positions, arrow_factor, draw_lengths, draw_shifts
from ptycho_cli.render.reconstruction_figure import (
    ObjectView,
    draw_amplitude,
    draw_coverage,
    draw_phase,
    draw_probe,
    view_of,
)
from ptycho_cli.render.training_curves import Curves, draw_curves
from ptycho_cli.render.uncertainty_figure import FrameMap, Rings, draw_residuals, draw_rings, draw_spread

_WIDTH = 5.4  # inches of a figure of half the page
Place = tuple[float, float, float, float]
# Places of a panel in its figure: left, bottom, width and height.
_FRAME, _WHOLE = (0.02, 0.03, 0.88, 0.94), (0.02, 0.02, 0.96, 0.91)
_WITH_AXES, _ABOVE_MODES = (0.11, 0.12, 0.86, 0.8), (0.02, 0.26, 0.96, 0.67)
_PHASE = "Phase, plane removed"
_SAID_BY_THE_PAGE = (_PHASE, f"{_PHASE}, unwrapped", "Residual of each frame at its position")
_MOST_PX = 1024  # pixels along a side; larger objects are shown with a part of their pixels
_MOST_UNWRAPPED_PX = 1_000_000  # unwrapping takes about a second for so many


def object_pictures(
    object: Complex,
    probe: Complex,
    coverage: NDArray[np.floating[Any]],
    pixel_m: float | None,
    left_out_px: NDArray[np.float64] | None = None,
    style: PictureStyle = DEFAULT_STYLE,
) -> list[Picture]:
    """Amplitude, phase, probe and coverage; the phase also unwrapped where it wraps.

    Args:
        object: ``(y, x)``.
        probe: ``(mode, y, x)``.
        coverage: Illumination of each object pixel, ``(y, x)``.
        pixel_m: Size of an object pixel in metres; None if unknown.
        left_out_px: Positions (y, x) of frames that were left out, in pixels of the object; None if there are none.
        style: Colours.
    """
    step = -(-max(object.shape) // _MOST_PX)
    view = view_of(object[::step, ::step], coverage[::step, ::step])
    pixel_m = None if pixel_m is None else pixel_m * step
    note = f" Every {step}th pixel is shown, in rows and in columns." if step > 1 else ""
    size = _panel_size(view)
    pictures = [
        _one("amplitude", "Amplitude", f"Modulus of the object's transmission; 1 is vacuum.{note}", size,
             lambda axes: draw_amplitude(axes, view, pixel_m, style)),
        *_phases(view, pixel_m, size, note, style),
        _one("probe", "Probe", _about_probe(probe), (_WIDTH, 5.0), lambda axes: draw_probe(axes, probe, pixel_m),
             _ABOVE_MODES if len(probe) > 1 else _WHOLE),
        _one("coverage", "Coverage", f"Illumination of each pixel by all frames, relative to its median.{note}", size,
             lambda axes: draw_coverage(axes, view, pixel_m, None if left_out_px is None else left_out_px / step)),
    ]  # fmt: skip
    return pictures


def _phases(
    view: ObjectView, pixel_m: float | None, size: tuple[float, float], note: str, style: PictureStyle
) -> list[Picture]:
    """The phase without its mean plane and, where it wraps, unwrapped."""
    phase = flattened_phase(view.field, view.shown)
    share = wrapped_share(phase, view.shown)
    caption = "The mean plane and the mean of the phase are removed: frames do not determine them. "
    caption += f"{share:.1%} of the neighbouring pixels differ by a wrap of 2 pi." if share else "It does not wrap."
    first = _one("phase", "Phase", caption + note, size, lambda axes: draw_phase(axes, view, pixel_m, style))
    if not share or phase.size > _MOST_UNWRAPPED_PX:
        return [first]
    from skimage.restoration import unwrap_phase

    masked = np.ma.masked_array(phase, ~view.shown)
    continuous = np.ma.filled(unwrap_phase(masked, rng=0), 0.0)  # type: ignore[no-untyped-call]
    caption = f"The same phase as a continuous surface, as far as noise and residues allow.{note}"
    second = _one(
        "unwrapped", "Phase, unwrapped", caption, size, lambda axes: draw_phase(axes, view, pixel_m, style, continuous)
    )
    return [first, second]


def wrapped_share(phase: Image, shown: Mask) -> float:
    """Share of the pairs of neighbouring covered pixels whose phases differ by more than pi."""
    wraps = pairs = 0
    for axis in (0, 1):
        both = np.logical_and(*_neighbours(shown, axis))
        first, second = _neighbours(phase, axis)
        wraps += int(np.count_nonzero(np.abs(second - first)[both] > np.pi))
        pairs += int(np.count_nonzero(both))
    return wraps / max(pairs, 1)


def _neighbours(image: NDArray[Any], axis: int) -> tuple[NDArray[Any], NDArray[Any]]:
    return (image[:-1], image[1:]) if axis == 0 else (image[:, :-1], image[:, 1:])


def training_picture(curves: Curves) -> Picture:
    """Losses, noise floor, stages and learning rate by optimizer step."""
    with page_style("training"):
        figure = new_figure(9.0, 5.4)
        loss, rate = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
        draw_curves(loss, rate, curves)
        svg = svg_of(figure, "Losses and learning rate by optimizer step")
    caption = "Deviance of the counts, in nats per valid pixel, and the learning rate that each optimizer step used."
    if curves.noise_floor is not None:
        caption += " The dashed line is what photon noise alone leaves of held-out frames at the rates found."
    if len(curves.loss_weight):
        caption += " Shades mark the stages of the scheduler."
    return Picture("Loss and learning rate", caption, svg, wide=True)


def shift_picture(stored_px: Positions, refined_px: Positions) -> Picture:
    """Position shifts as arrows and as a histogram."""
    with page_style("shifts"):
        figure = new_figure(10.0, 5.2)
        plan, counts = figure.subplots(1, 2, width_ratios=(1.3, 1))
        draw_shifts(plan, stored_px, refined_px)
        draw_lengths(counts, stored_px, refined_px)
        svg = svg_of(figure, "Shifts of the frames' positions")
    factor = arrow_factor(stored_px, np.linalg.norm(refined_px - stored_px, axis=1))
    caption = "From the stored to the refined position of each frame."
    caption += f" Arrows are drawn {factor:g} times as long as the shifts." if factor > 1 else " Arrows are to scale."
    return Picture("Position shifts", caption, svg, wide=True)


def residual_picture(frames: FrameMap, pixel_m: float | None) -> Picture:
    """Misfit of each frame at its position."""
    caption = (
        "R-factor of each frame at its position. A corner or a line that stands out points to drift or a damaged part."
    )
    return _one("residuals", "Residual of each frame", caption, (_WIDTH, 4.8),
                lambda axes: draw_residuals(axes, frames, pixel_m))  # fmt: skip


def frames_picture(names: Sequence[str], measured: Frames, modelled: Frames) -> Picture:
    """Frames as measured, as expected, and their difference; arguments as for ``draw_frames``."""
    with page_style("frames"):
        figure = new_figure(9.0, 2.75 * len(names), fixed=True)
        draw_frames(figure, names, measured, modelled)
        svg = svg_of(figure, "Frames as measured and as expected: " + ", ".join(names))
    caption = "Photons that were measured, photons that the reconstruction expects, and their difference."
    return Picture("Frames, measured beside modelled", caption, svg, wide=True)


def uncertainty_pictures(amplitude: Frames, phase_rad: Frames, rings: Rings, pixel_m: float | None) -> list[Picture]:
    """Ring correlation and standard errors; spreads are ``(y, x)``, NaN where unknown."""
    known = np.isfinite(amplitude)
    rows, columns = (np.flatnonzero(known.any(axis=axis)) for axis in (1, 0))
    window = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] if len(rows) else np.s_[:, :]
    step = -(-max(amplitude[window].shape) // _MOST_PX)
    maps = [spread[window][::step, ::step] for spread in (amplitude, phase_rad)]
    pixel_m = None if pixel_m is None else pixel_m * step
    about = "From two reconstructions of half of the frames each."
    return [
        _one("rings", "Ring correlation", f"{about} Where it falls below a threshold, the halves no longer agree.",
             (_WIDTH, 4.6), lambda axes: draw_rings(axes, rings), _WITH_AXES),
        _one("spread_a", "Standard error of the amplitude", about, (_WIDTH, 4.6),
             lambda axes: draw_spread(axes, maps[0], "Standard error", "", pixel_m)),
        _one("spread_p", "Standard error of the phase", about, (_WIDTH, 4.6),
             lambda axes: draw_spread(axes, maps[1], "Standard error", "rad", pixel_m)),
    ]  # fmt: skip


def _panel_size(view: ObjectView) -> tuple[float, float]:
    height, width = view.shown.shape
    return _WIDTH, 0.25 + 0.74 * _WIDTH * float(np.clip(height / width, 0.4, 1.6))


def _about_probe(probe: Complex) -> str:
    caption = "Hue is the phase, brightness the amplitude."
    return caption if len(probe) == 1 else f"{caption} {len(probe)} modes, which add in intensity, each with its share."


def _one(name: str, title: str, caption: str, size: tuple[float, float], draw: Any, place: Place = _FRAME) -> Picture:
    """A picture of one panel, in its place by default with room for a colour bar."""
    with page_style(name):
        figure = new_figure(*size, fixed=True)
        axes = figure.add_axes(place)
        draw(axes)
        if axes.get_title() in (title, *_SAID_BY_THE_PAGE):
            axes.set_title("")
        return Picture(title, caption, svg_of(figure, title))
