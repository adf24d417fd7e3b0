"""Figure of a reconstruction: amplitude, phase, probe and coverage."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ptycho_cli.geometry import covered_area
from ptycho_cli.render.plotting import (
    BLANK,
    DEFAULT_STYLE,
    PERCENTILES,
    Complex,
    Image,
    Mask,
    PictureStyle,
    add_colour_bar,
    covered_window,
    flattened_phase,
    four_panels,
    label_panel,
    save_figure,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MODES_BELOW = 4  # weaker modes of a probe that are drawn below the strongest
_MIN_RELATIVE_COVERAGE = 0.5  # of the median: the rim is noisy and must not set the contrast


def save_reconstruction_png(
    path: str | PathLike[str],
    object: Complex,
    probe: Complex,
    coverage: NDArray[np.floating[Any]],
    pixel_m: float | None = None,
    title: str = "",
    left_out_px: NDArray[np.float64] | None = None,
    style: PictureStyle = DEFAULT_STYLE,
) -> None:
    """Draw amplitude, phase, probe and coverage into one file, which replaces an older one.

    Amplitude and phase are cropped to the covered area; pixels outside it are blank. The limits of their
    colours are percentiles over the pixels with at least half of the median coverage. The mean plane and the
    mean of the phase are removed, so that it wraps as little as possible.

    Args:
        path: File; its suffix is the format.
        object: ``(y, x)``.
        probe: ``(mode, y, x)``; the strongest mode is drawn, phase as hue and amplitude as brightness,
            and up to four others below it, each with its share of the intensity.
        coverage: Illumination of each object pixel, ``(y, x)``.
        pixel_m: Size of an object pixel in metres; the scale bars are in pixels where it is unknown.
        title: Line above the panels.
        left_out_px: Positions (y, x) of frames that were left out, in pixels of the object, ``(frame, 2)``; those in
            the covered area are marked by crosses.
        style: Resolution and colours.

    Raises:
        OutputError: If the file cannot be written.
    """
    view = view_of(object, coverage)
    figure, axes = four_panels(view.shown.shape, title)
    draw_amplitude(axes[0], view, pixel_m, style)
    draw_phase(axes[1], view, pixel_m, style)
    draw_probe(axes[2], probe, pixel_m)
    draw_coverage(axes[3], view, pixel_m, left_out_px)
    save_figure(figure, Path(path), dpi=style.dpi)


@dataclass(frozen=True, eq=False)
class ObjectView:
    """The covered area of an object, as figures show it.

    Attributes:
        window: Rows and columns of the object.
        field: The object in this window, complex ``(y, x)``; 0 outside the covered area.
        shown: Covered pixels.
        good: Pixels whose values set the limits of the colours.
        relative_coverage: Coverage in units of its median.
    """

    window: tuple[slice, slice]
    field: Complex
    shown: Mask
    good: Mask
    relative_coverage: Image


def view_of(object: Complex, coverage: NDArray[np.floating[Any]]) -> ObjectView:
    """The covered area of an object ``(y, x)``."""
    covered = covered_area(coverage) & np.isfinite(object)
    window = covered_window(covered)
    shown = covered[window]
    illumination = coverage[window].astype(np.float64)
    relative = illumination / max(float(np.median(coverage[window][shown])) if shown.any() else 1.0, 1e-30)
    field = np.where(covered, object, 0)[window]
    return ObjectView(window, field, shown, shown & (relative >= _MIN_RELATIVE_COVERAGE), relative)


def draw_amplitude(axes: Axes, view: ObjectView, pixel_m: float | None, style: PictureStyle = DEFAULT_STYLE) -> None:
    """Draw the amplitude of an object."""
    _panel(axes, np.abs(view.field), view.shown, view.good, "Amplitude", "amplitude", style.amplitude_map, pixel_m)


def draw_phase(
    axes: Axes, view: ObjectView, pixel_m: float | None, style: PictureStyle = DEFAULT_STYLE,
    unwrapped: Image | None = None,
) -> None:  # fmt: skip
    """Draw the phase of an object without its mean plane, or a phase that was unwrapped."""
    phase = flattened_phase(view.field, view.shown) if unwrapped is None else unwrapped
    name = "Phase, plane removed" if unwrapped is None else "Phase, plane removed, unwrapped"
    _panel(axes, phase, view.shown, view.good, name, "phase, rad", style.phase_map, pixel_m)


def draw_coverage(
    axes: Axes, view: ObjectView, pixel_m: float | None, left_out_px: NDArray[np.float64] | None = None
) -> None:
    """Draw the coverage, and crosses at positions (y, x) of frames that were left out, in pixels of the object."""
    illuminated = view.relative_coverage > 0
    number = 0 if left_out_px is None else len(left_out_px)
    name = f"Coverage, x: {number} frame{'s' if number > 1 else ''} left out" if number else "Coverage"
    label = "relative to its median"
    _panel(axes, view.relative_coverage, illuminated, illuminated, name, label, "viridis", pixel_m)
    if left_out_px is not None:
        _crosses(axes, left_out_px - [view.window[0].start, view.window[1].start], view.shown.shape)


def complex_as_colour(field: Complex) -> Image:
    """Phase as hue and amplitude as brightness, RGB ``(y, x, 3)`` from 0 to 1."""
    amplitude = np.abs(field)
    brightness = np.clip(amplitude / max(float(np.percentile(amplitude, 99.8)), 1e-30), 0, 1)
    wheel = np.array([colorsys.hsv_to_rgb(hue / 256, 0.9, 1.0) for hue in range(256)])
    hue = np.floor((np.angle(field) / (2 * np.pi) % 1.0) * 256).astype(np.int64) % 256
    return np.asarray(wheel[hue] * brightness[..., None], dtype=np.float64)


def _panel(
    axes: Axes, image: Image, shown: Mask, good: Mask, name: str, label: str, colours: str, pixel_m: float | None
) -> None:
    low, high = np.percentile(image[good], PERCENTILES) if good.any() else (0.0, 1.0)
    if high - low < 1e-9 * max(1.0, abs(high)):  # a flat image: show it as one tone, not as its rounding errors
        low, high = low - 0.5, high + 0.5
    axes.set_facecolor(BLANK)
    drawn = axes.imshow(np.ma.masked_array(image, ~shown), cmap=colours, vmin=low, vmax=high, interpolation="none")
    add_colour_bar(drawn, axes, image[shown], label)
    label_panel(axes, name, image.shape[1], pixel_m)


def _crosses(axes: Axes, positions: NDArray[np.float64], shape: tuple[int, ...]) -> None:
    """Mark positions (y, x) in pixels of the panel; those outside of it are not drawn."""
    inside = np.all((positions >= 0) & (positions <= np.array(shape) - 1), axis=1)
    y, x = positions[inside].T
    axes.plot(x, y, linestyle="none", marker="x", color="red", markersize=6, markeredgewidth=1.2)


def draw_probe(axes: Axes, probe: Complex, pixel_m: float | None) -> None:
    """Draw the strongest mode of a probe ``(mode, y, x)`` and weaker ones below it."""
    power = np.sum(np.abs(probe) ** 2, axis=(-2, -1))
    strongest = int(np.argmax(power))
    axes.imshow(complex_as_colour(probe[strongest]), interpolation="none")
    name = "Probe, hue: phase, brightness: amplitude"
    if len(probe) > 1:
        name = f"Probe, strongest of {len(probe)} modes ({power[strongest] / power.sum():.1%} of the intensity)"
        others = [int(mode) for mode in np.argsort(-power) if mode != strongest][:_MODES_BELOW]
        for place, mode in enumerate(others):
            weaker = axes.inset_axes((place / _MODES_BELOW, -0.27, 0.9 / _MODES_BELOW, 0.9 / _MODES_BELOW))
            weaker.imshow(complex_as_colour(probe[mode]), interpolation="none")
            weaker.set(xticks=[], yticks=[])
            weaker.set_xlabel(f"{power[mode] / power.sum():.1%}", fontsize=9, labelpad=2)
    label_panel(axes, name, probe.shape[-1], pixel_m)
