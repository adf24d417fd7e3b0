"""Helpers of all figures: panels, scale bars, phases without their plane, files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ptycho_cli.config.values import printable
from ptycho_cli.whole_file import new_output

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure

Complex = NDArray[np.complexfloating[Any, Any]]
Image = NDArray[np.float64]
Mask = NDArray[np.bool_]

BLANK = "#dbe4ee"  # uncovered area: a tint that neither grey nor viridis has
PERCENTILES = (0.5, 99.5)  # of the values: limits of the colours
MANY = 2000  # marks; more are drawn as pixels also in SVG and PDF
_MARGIN_PX = 3


@dataclass(frozen=True)
class PictureStyle:
    """Format and colours of pictures.

    Attributes:
        format: ``png``, ``svg`` or ``pdf``.
        dpi: Dots per inch; in svg and pdf only of what is drawn as pixels there, too.
        amplitude_map: Name of matplotlib's colour map for amplitudes.
        phase_map: The same for phases.
    """

    format: str = "png"
    dpi: int = 110
    amplitude_map: str = "gray"
    phase_map: str = "gray"

    def path(self, path: Path) -> Path:
        """A path with the suffix of the format."""
        return path.with_suffix(f".{self.format}")


DEFAULT_STYLE = PictureStyle()


def four_panels(shape: tuple[int, ...], title: str) -> tuple[Figure, list[Axes]]:
    """Make a figure of two rows of two panels, whose height suits images of ``shape`` (y, x)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    height, width = shape
    aspect = float(np.clip(height / width, 0.4, 2.5))
    figure = Figure(figsize=(12.0, 1.4 + 10.0 * aspect), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    if title:
        figure.suptitle(printable(title), parse_math=False)
    return figure, list(figure.subplots(2, 2).flat)


def flattened_phase(field: Complex, covered: Mask) -> Image:
    """Phase over the covered area without its mean slope and its mean; radians, ``(y, x)``."""
    return np.asarray(np.angle(field * flattening(field, covered)), dtype=np.float64)


def flattening(field: Complex, covered: Mask) -> NDArray[np.complex128]:
    """Factor of modulus 1, ``(y, x)``, that removes the mean slope and the mean of a field's phase."""
    factor = np.ones(field.shape, dtype=np.complex128)
    if not covered.any():
        return factor
    flat = field.astype(np.complex128)
    for axis, n in enumerate(field.shape):
        first, second = [slice(None)] * 2, [slice(None)] * 2
        first[axis], second[axis] = slice(0, n - 1), slice(1, n)
        pairs = covered[tuple(first)] & covered[tuple(second)]
        # the angle of the summed products: dark pixels count little, and wraps not at all
        slope = np.angle(np.sum((flat[tuple(second)] * np.conj(flat[tuple(first)]))[pairs]))
        ramp = np.exp(-1j * slope * np.arange(n))
        factor = factor * (ramp[:, None] if axis == 0 else ramp[None, :])
    return np.asarray(factor * np.exp(-1j * np.angle(np.sum((flat * factor)[covered]))), dtype=np.complex128)


def bar_length(width_px: int, pixel_m: float | None) -> tuple[float, str]:
    """Length in pixels and label of a scale bar: a round length of about a fifth of the image's width."""
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
    """Bounding box of the covered area with a margin; the whole image where nothing is covered."""
    if not covered.any():
        return slice(0, covered.shape[0]), slice(0, covered.shape[1])
    sides = [np.flatnonzero(covered.any(axis=1)), np.flatnonzero(covered.any(axis=0))]
    y, x = (
        slice(max(0, int(side[0]) - _MARGIN_PX), min(n, int(side[-1]) + 1 + _MARGIN_PX))
        for side, n in zip(sides, covered.shape, strict=True)
    )
    return y, x


def add_colour_bar(
    drawn: ScalarMappable, axes: Axes | Sequence[Axes], values: NDArray[Any], label: str, location: str = "right"
) -> None:
    """Add a colour bar beside panels; values beyond the limits show as arrows, with their share in the label."""
    low, high = drawn.get_clim()
    below, above = (int(np.count_nonzero(beyond)) for beyond in (values < low, values > high))
    ends = {(False, False): "neither", (True, False): "min", (False, True): "max", (True, True): "both"}
    extend = ends[below > 0, above > 0]
    if below + above:
        label = f"{label} ({(below + above) / values.size:.1%} beyond the limits)".lstrip()
    figure = (axes[0] if isinstance(axes, Sequence) else axes).figure
    shape: dict[str, Any] = (
        {"shrink": 0.85, "pad": 0.02} if location == "right" else {"shrink": 0.6, "pad": 0.01, "aspect": 40}
    )
    bar = figure.colorbar(drawn, ax=axes, extend=extend, location=location, **shape)
    bar.set_label(label)


def label_panel(axes: Axes, name: str, width_px: int, pixel_m: float | None) -> None:
    """Add a title and a scale bar that is readable on dark and light images; remove the ticks."""
    from matplotlib.offsetbox import AnchoredOffsetbox, AuxTransformBox, TextArea, VPacker
    from matplotlib.patches import Rectangle

    axes.set_title(printable(name), fontsize=11, parse_math=False)
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


def save_figure(figure: Any, path: Path, *, dpi: int = DEFAULT_STYLE.dpi) -> None:
    """Write a figure in the format of the path's suffix; the file appears whole or not at all.

    Raises:
        OutputError: If the file cannot be written.
    """
    figure.dpi = dpi
    if (layout := figure.get_layout_engine()) is not None:  # once, or savefig draws all images twice
        layout.execute(figure)
        figure.set_layout_engine("none")
    with new_output(path) as temporary:
        figure.savefig(temporary, format=path.suffix.removeprefix(".") or "png", dpi=dpi)
