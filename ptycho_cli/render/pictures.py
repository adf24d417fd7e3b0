"""Pictures of reconstructions, as one would show them to a colleague; matplotlib is loaded when one is made."""

from __future__ import annotations

import colorsys
import os
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ptycho_cli.errors import OutputError
from ptycho_cli.geometry import covered_area

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Complex = NDArray[np.complexfloating[Any, Any]]
Image = NDArray[np.float64]
Mask = NDArray[np.bool_]

BLANK = "#dbe4ee"  # uncovered area: a tint that neither grey nor viridis has
_MARGIN_PX = 3
PERCENTILES = (0.5, 99.5)
_MODES_BELOW = 4  # weaker modes of a probe that are drawn below the strongest
_WELL_LIT = 0.5  # of the median coverage: the rim is noisy and must not set the contrast


def save_reconstruction_png(
    path: str | PathLike[str],
    object: Complex,
    probe: Complex,
    coverage: NDArray[np.floating[Any]],
    pixel_m: float | None = None,
    title: str = "",
) -> None:
    """Draw amplitude, phase, probe and coverage into one PNG file; an older file of that name is replaced.

    Amplitude and phase are cropped to the covered area, limits are percentiles over its well-lit part, and
    what no probe lit is blank. The phase is shown without its mean plane and around its mean, so that it does
    not wrap where it need not.

    Args:
        path: PNG file.
        object: ``(y, x)``.
        probe: ``(mode, y, x)``; the strongest mode is drawn, phase as hue and amplitude as brightness,
            and up to four others below it, each with its share of the light.
        coverage: How much light each object pixel got, ``(y, x)``.
        pixel_m: Size of an object pixel in metres; the scale bars are in pixels where it is unknown.
        title: Line above the panels.

    Raises:
        OutputError: If the file cannot be written.
    """
    covered = covered_area(coverage) & np.isfinite(object)
    window = covered_window(covered)
    shown, lit, field = covered[window], coverage[window], np.where(covered, object, 0)[window]
    figure, (amplitude, phase, illumination, light) = four_panels(shown.shape, title)
    relative = lit.astype(np.float64) / max(float(np.median(lit[shown])) if shown.any() else 1.0, 1e-30)
    good = shown & (relative >= _WELL_LIT)
    _panel(amplitude, np.abs(field), shown, good, "Amplitude", "", "gray", pixel_m)
    _panel(phase, flattened_phase(field, shown), shown, good, "Phase, plane removed", "rad", "gray", pixel_m)
    _probe_panel(illumination, probe, pixel_m)
    _panel(light, relative, lit > 0, lit > 0, "Coverage", "of its median", "viridis", pixel_m)
    save(figure, Path(path))


def four_panels(shape: tuple[int, ...], title: str) -> tuple[Figure, list[Axes]]:
    """A figure of two rows of two panels, as high as images of ``shape`` (y, x) ask for."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    height, width = shape
    aspect = float(np.clip(height / width, 0.4, 2.5))
    figure = Figure(figsize=(12.0, 1.4 + 10.0 * aspect), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    if title:
        figure.suptitle(title)
    return figure, list(figure.subplots(2, 2).flat)


def flattened_phase(field: Complex, covered: Mask) -> Image:
    """Phase over the covered area without its mean slope, around its mean; radians, ``(y, x)``."""
    return np.asarray(np.angle(field * flattening(field, covered)), dtype=np.float64)


def flattening(field: Complex, covered: Mask) -> NDArray[np.complex128]:
    """Factor of modulus 1, ``(y, x)``, that takes the mean slope and the mean of a field's phase away."""
    turn = np.ones(field.shape, dtype=np.complex128)
    if not covered.any():
        return turn
    flat = field.astype(np.complex128)
    for axis, n in enumerate(field.shape):
        first, second = [slice(None)] * 2, [slice(None)] * 2
        first[axis], second[axis] = slice(0, n - 1), slice(1, n)
        pairs = covered[tuple(first)] & covered[tuple(second)]
        # the mean of unit vectors: noise of dark pixels counts little, and wraps do not count
        slope = np.angle(np.sum((flat[tuple(second)] * np.conj(flat[tuple(first)]))[pairs]))
        ramp = np.exp(-1j * slope * np.arange(n))
        turn = turn * (ramp[:, None] if axis == 0 else ramp[None, :])
    return np.asarray(turn * np.exp(-1j * np.angle(np.sum((flat * turn)[covered]))), dtype=np.complex128)


def complex_as_colour(field: Complex) -> Image:
    """Phase as hue and amplitude as brightness, RGB ``(y, x, 3)`` from 0 to 1."""
    amplitude = np.abs(field)
    brightness = np.clip(amplitude / max(float(np.percentile(amplitude, 99.8)), 1e-30), 0, 1)
    wheel = np.array([colorsys.hsv_to_rgb(hue / 256, 0.9, 1.0) for hue in range(256)])
    hue = np.floor((np.angle(field) / (2 * np.pi) % 1.0) * 256).astype(np.int64) % 256
    return np.asarray(wheel[hue] * brightness[..., None], dtype=np.float64)


def bar_length(width_px: int, pixel_m: float | None) -> tuple[float, str]:
    """Length in pixels and label of a scale bar of a round length, about a fifth of a picture's width."""
    size, unit_exponent = (1.0, 0) if pixel_m is None else (pixel_m, -12)
    wanted = width_px * size / 5
    power = 10.0 ** np.floor(np.log10(wanted))
    length = max(step * power for step in (1, 2, 5) if step * power <= wanted * (1 + 1e-9))
    if pixel_m is None:
        return float(length), f"{length:g} px"
    units = {-12: "pm", -9: "nm", -6: "µm", -3: "mm", 0: "m"}
    unit_exponent = max(exponent for exponent in units if length >= 10.0**exponent * (1 - 1e-9) or exponent == -12)
    return float(length / size), f"{round(length / 10.0**unit_exponent, 6):g} {units[unit_exponent]}"


def covered_window(covered: Mask) -> tuple[slice, slice]:
    """The rectangle of the covered area with a margin; everything where nothing is covered."""
    if not covered.any():
        return slice(0, covered.shape[0]), slice(0, covered.shape[1])
    sides = [np.flatnonzero(covered.any(axis=1)), np.flatnonzero(covered.any(axis=0))]
    y, x = (
        slice(max(0, int(side[0]) - _MARGIN_PX), min(n, int(side[-1]) + 1 + _MARGIN_PX))
        for side, n in zip(sides, covered.shape, strict=True)
    )
    return y, x


def _panel(
    axes: Axes, image: Image, shown: Mask, good: Mask, name: str, unit: str, colours: str, pixel_m: float | None
) -> None:
    low, high = np.percentile(image[good], PERCENTILES) if good.any() else (0.0, 1.0)
    if high - low < 1e-9 * max(1.0, abs(high)):  # a flat image: show it as one tone, not as its rounding errors
        low, high = low - 0.5, high + 0.5
    axes.set_facecolor(BLANK)
    drawn = axes.imshow(np.ma.masked_array(image, ~shown), cmap=colours, vmin=low, vmax=high, interpolation="nearest")
    bar = axes.figure.colorbar(drawn, ax=axes, shrink=0.85, pad=0.02)
    bar.set_label(unit)
    dress(axes, name, image.shape[1], pixel_m)


def _probe_panel(axes: Axes, probe: Complex, pixel_m: float | None) -> None:
    power = np.sum(np.abs(probe) ** 2, axis=(-2, -1))
    strongest = int(np.argmax(power))
    axes.imshow(complex_as_colour(probe[strongest]), interpolation="nearest")
    name = "Probe, hue: phase, brightness: amplitude"
    if len(probe) > 1:
        name = f"Probe, strongest of {len(probe)} modes ({power[strongest] / power.sum():.1%} of the light)"
        others = [int(mode) for mode in np.argsort(-power) if mode != strongest][:_MODES_BELOW]
        for place, mode in enumerate(others):
            weaker = axes.inset_axes((place / _MODES_BELOW, -0.27, 0.9 / _MODES_BELOW, 0.9 / _MODES_BELOW))
            weaker.imshow(complex_as_colour(probe[mode]), interpolation="nearest")
            weaker.set(xticks=[], yticks=[])
            weaker.set_xlabel(f"{power[mode] / power.sum():.1%}", fontsize=9, labelpad=2)
    dress(axes, name, probe.shape[-1], pixel_m)


def dress(axes: Axes, name: str, width_px: int, pixel_m: float | None) -> None:
    """Title, no ticks, and a scale bar that reads on dark and light ground."""
    from matplotlib.offsetbox import AnchoredOffsetbox, AuxTransformBox, TextArea, VPacker
    from matplotlib.patches import Rectangle

    axes.set_title(name, fontsize=11)
    axes.set_xticks([])
    axes.set_yticks([])
    length, label = bar_length(width_px, pixel_m)
    bar = AuxTransformBox(axes.transData)
    bar.add_artist(Rectangle((0, 0), length, 0.012 * width_px, facecolor="black", edgecolor="none"))
    text = TextArea(label, textprops={"color": "black", "fontsize": 9})
    packed = VPacker(children=[bar, text], align="center", pad=0, sep=3)
    box = AnchoredOffsetbox(loc="lower left", child=packed, pad=0.4, borderpad=0.5, frameon=True)
    box.patch.set(facecolor="white", edgecolor="none", alpha=0.75)
    axes.add_artist(box)


def save(figure: Any, path: Path) -> None:
    """Write a figure as PNG, whole or not at all.

    Raises:
        OutputError: If the file cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(temporary, format="png", dpi=110)
        os.replace(temporary, path)
    except OSError as problem:
        reason = problem.strerror or str(problem)
        raise OutputError(f"{path}: cannot be written ({reason}).", hint="Check the folder and free space.") from None
    finally:
        if temporary.exists():
            temporary.unlink()
