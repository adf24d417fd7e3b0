"""Registration of complex images: coarse by cross-correlation, then by least squares on the complex field."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.fft import next_fast_len

from ptycho_cli.errors import ShapeError
from ptycho_cli.geometry import covered_area

Field = NDArray[np.complex128]
Mask = NDArray[np.bool_]
Window = tuple[slice, slice]
Pair = tuple[float, float]

_PAD = 32  # mirrored pixels around an image, so that a shift does not wrap its far edge in
_MAX_ITERATIONS = 12
_SMALL_PX = 1e-5  # steps below end the iterations
_MIN_AREA = 64  # pixels
_MAX_PLACEMENTS = 3


@dataclass(frozen=True, eq=False)
class Aligned:
    """A reconstruction on the pixels of its reference; all arrays are ``(y, x)``, over the window that they share.

    Attributes:
        object: The reconstruction, shifted, scaled and without its phase plane.
        reference: The reference.
        covered: Pixels to compare.
        offset_px: Position (y, x) of the reconstruction's pixel (0, 0) on the reference.
        window: Rows and columns of the reference that the arrays show.
    """

    object: Field
    reference: Field
    covered: Mask
    offset_px: tuple[float, float]
    window: tuple[slice, slice]


def align(
    obj: NDArray[np.complexfloating[Any, Any]],
    reference: NDArray[np.complexfloating[Any, Any]],
    *,
    coverage: NDArray[np.floating[Any]] | None = None,
    offset_px: tuple[float, float] | None = None,
) -> Aligned:
    """Remove shift, complex factor and phase plane between a reconstruction and a reference.

    Ptychography does not determine these. They are fitted together, by least squares on the complex field.

    Args:
        obj: Reconstruction, ``(y, x)``; pixels that are not finite are not covered.
        reference: Known object or another reconstruction, of any shape; likewise.
        coverage: Illumination of each pixel of ``obj``; None if all are covered.
        offset_px: Expected position (y, x) of pixel (0, 0) of ``obj`` on the reference; None finds it by
            cross-correlation.

    Returns:
        Both on the window of the reference that they share.

    Raises:
        ShapeError: If the two share too few covered pixels.
    """
    field, finite = _finite(obj)
    target, target_finite = _finite(reference)
    covered = finite if coverage is None else finite & covered_area(coverage)
    if covered.sum() < _MIN_AREA:
        raise ShapeError(f"only {int(covered.sum())} pixels of the object are covered, expected {_MIN_AREA} or more.")
    offset = coarse_offset(field, covered, target, target_finite) if offset_px is None else offset_px
    for _ in range(_MAX_PLACEMENTS):
        whole = int(np.rint(offset[0])), int(np.rint(offset[1]))
        inside, onto = _overlap(field.shape, target.shape, whole)
        mask = covered[inside] & target_finite[onto]
        if mask.sum() < _MIN_AREA:
            raise ShapeError(
                f"the object {field.shape} and the reference {target.shape} share {int(mask.sum())} covered pixels "
                f"at an offset of {whole}, expected {_MIN_AREA} or more.",
                hint="Check that the reference shows the object of this scan.",
            )
        moved, shift = register(field, inside, target[onto], mask)
        offset = whole[0] + shift[0], whole[1] + shift[1]
        if max(abs(shift[0]), abs(shift[1])) < 0.75:  # else mask and window are a pixel off
            break
    return Aligned(moved, target[onto], mask, offset, onto)


def coarse_offset(field: Field, mask: Mask, target: Field, target_mask: Mask) -> Pair:
    """Position of pixel (0, 0) of ``field`` on ``target``, to a pixel, from the peak of their cross-correlation.

    The phase plane and the mean of each image are removed first, since the two may differ in them.
    """
    shape = [next_fast_len(a + b - 1) for a, b in zip(field.shape, target.shape, strict=True)]
    spectra = [
        np.fft.fft2(_without_plane_and_mean(image, area), s=shape)
        for image, area in ((field, mask), (target, target_mask))
    ]
    correlation = np.abs(np.fft.ifft2(np.conj(spectra[0]) * spectra[1]))
    peak = np.unravel_index(int(np.argmax(correlation)), correlation.shape)
    y, x = (
        int(at) - (n if at >= side else 0) for at, n, side in zip(peak, correlation.shape, target.shape, strict=True)
    )
    return float(y), float(x)


def _without_plane_and_mean(image: Field, area: Mask) -> Field:
    level = image * np.exp(-1j * _phase_plane(image.shape, _dominant_slope(image * area)))
    return np.asarray(np.where(area, level - level[area].mean(), 0), dtype=np.complex128)


def register(field: Field, inside: Window, target: Field, mask: Mask) -> tuple[Field, Pair]:
    """Fit shift, complex factor and phase plane that bring a window of ``field`` closest to ``target``.

    Minimises ``sum |target - factor exp(i plane) field(. - shift)|^2`` over the mask by Gauss-Newton steps on
    all six numbers. The first shift is from scikit-image, the first plane from the peak of the spectrum of
    ``target conj(field)``.

    Args:
        field: Image to move, ``(y, x)``; pixels outside the window are used where the shift brings them in.
        inside: Window of ``field`` that lies on ``target``.
        target: ``(y, x)``, of the size of the window.
        mask: Pixels to fit, of the same size.

    Returns:
        The moved and scaled window, and the shift (y, x) in pixels.
    """
    start = _initial_shift(field[inside], target, mask)
    slope = _dominant_slope(np.where(mask, target * np.conj(_ShiftableImage(field, inside).shifted(start)), 0))
    # without its phase plane, the image is smooth across its mirrored margin
    image = _ShiftableImage(field * np.exp(1j * _phase_plane(field.shape, slope)), inside)
    state = np.array([*start, 0.0, 0.0], dtype=np.float64)
    y, x = (axis - axis.mean() for axis in np.indices(target.shape, dtype=np.float64))
    wanted = target[mask]
    for _ in range(_MAX_ITERATIONS):
        ramp = np.exp(1j * (state[2] * y + state[3] * x))[mask]
        moved, along_y, along_x = (part[mask] * ramp for part in image.shifted_with_derivatives((state[0], state[1])))
        factor = np.vdot(moved, wanted) / max(float(np.vdot(moved, moved).real), 1e-30)
        model = factor * moved
        columns = [-factor * along_y, -factor * along_x, 1j * y[mask] * model, 1j * x[mask] * model, model, 1j * model]
        step = _solve_real(columns, wanted - model)
        # far from the minimum the linear step overshoots; a pixel at a time is enough
        step *= min(1.0, 1.0 / max(float(np.abs(step[:2]).max()), 1e-30))
        state += step[:4]
        if np.abs(step[:2]).max() < _SMALL_PX and np.abs(step[2:4]).max() * max(target.shape) < _SMALL_PX:
            break
    moved = image.shifted((state[0], state[1])) * np.exp(1j * (state[2] * y + state[3] * x))
    factor = np.vdot(moved[mask], wanted) / max(float(np.vdot(moved[mask], moved[mask]).real), 1e-30)
    return np.asarray(factor * moved, dtype=np.complex128), (float(state[0]), float(state[1]))


class _ShiftableImage:
    """An image with mirrored edges that can be shifted by parts of a pixel, by the shift theorem."""

    def __init__(self, field: Field, inside: Window) -> None:
        padded = np.pad(field, _PAD, mode="reflect" if min(field.shape) > _PAD else "edge")
        level = field.mean()
        padded = level + (padded - level) * _taper(padded.shape[0])[:, None] * _taper(padded.shape[1])
        self._spectrum = np.fft.fft2(padded)
        frequency = [2j * np.pi * np.fft.fftfreq(n) for n in padded.shape]
        self._frequency = frequency[0][:, None], frequency[1][None, :]
        self._window = tuple(slice(part.start + _PAD, part.stop + _PAD) for part in _explicit(inside, field.shape))

    def shifted(self, shift: Pair) -> Field:
        """Content of the window after a shift (y, x) of the image to larger indices."""
        return self._window_of(self._moved(shift))

    def shifted_with_derivatives(self, shift: Pair) -> tuple[Field, Field, Field]:
        """Content of the window after the shift, and its derivatives along y and x."""
        moved = self._moved(shift)
        along_y, along_x = (self._window_of(moved * axis) for axis in self._frequency)
        return self._window_of(moved), along_y, along_x

    def _moved(self, shift: Pair) -> Field:
        ramps = [np.exp(-axis * distance) for axis, distance in zip(self._frequency, shift, strict=True)]
        return np.asarray(self._spectrum * ramps[0] * ramps[1], dtype=np.complex128)

    def _window_of(self, spectrum: Field) -> Field:
        return np.asarray(np.fft.ifft2(spectrum)[self._window], dtype=np.complex128)


def _taper(side: int) -> NDArray[np.float64]:
    """Window that is 1 inside and falls to 0 over the margin, so that both ends meet."""
    to_end = np.minimum(np.arange(side), np.arange(side)[::-1])
    return np.asarray(np.sin(np.pi / 2 * np.minimum(1.0, (to_end + 0.5) / _PAD)) ** 2, dtype=np.float64)


def _explicit(window: Window, shape: tuple[int, ...]) -> Window:
    """Replace open ends of a window by numbers."""
    explicit = [slice(*part.indices(side)[:2]) for part, side in zip(window, shape, strict=True)]
    return explicit[0], explicit[1]


def _initial_shift(moving: Field, target: Field, mask: Mask) -> Pair:
    from skimage.registration import phase_cross_correlation

    structures = [_without_plane_and_mean(image, mask) for image in (target, moving)]
    if min(float(np.abs(structure).max()) for structure in structures) < 1e-9:
        return 0.0, 0.0  # a shift does not change a flat object
    shift, _, _ = phase_cross_correlation(  # type: ignore[no-untyped-call]
        *structures, upsample_factor=20, normalization=None
    )
    return float(shift[0]), float(shift[1])


def _solve_real(columns: list[Field], rest: Field) -> NDArray[np.float64]:
    """Solve least squares for real unknowns, by normal equations that are scaled to a unit diagonal."""
    gram = np.array([[float(np.vdot(a, b).real) for b in columns] for a in columns])
    right = np.array([float(np.vdot(a, rest).real) for a in columns])
    scale = 1 / np.sqrt(np.maximum(np.diag(gram), 1e-30))
    solution, *_ = np.linalg.lstsq(gram * scale[:, None] * scale[None, :], right * scale, rcond=1e-9)
    return np.asarray(solution * scale, dtype=np.float64)


def _dominant_slope(field: Field) -> Pair:
    """Slope (y, x), radians per pixel, of the strongest plane wave in a field."""
    shape = [next_fast_len(4 * n) for n in field.shape]
    spectrum = np.abs(np.fft.fft2(field, s=shape))
    peak = np.unravel_index(int(np.argmax(spectrum)), spectrum.shape)
    y, x = (2 * np.pi * float(np.fft.fftfreq(n)[at]) for at, n in zip(peak, spectrum.shape, strict=True))
    return y, x


def _phase_plane(shape: tuple[int, ...], slope: Pair) -> NDArray[np.float64]:
    y, x = (np.arange(n) - (n - 1) / 2 for n in shape)
    return np.asarray(slope[0] * y[:, None] + slope[1] * x[None, :], dtype=np.float64)


def _finite(field: NDArray[np.complexfloating[Any, Any]]) -> tuple[Field, Mask]:
    """Replace what is not finite by 0; return the field and the mask of finite pixels."""
    if field.ndim != 2:
        raise ShapeError(f"the object is {field.shape}, expected an image (y, x).")
    finite = np.isfinite(field)
    return np.where(finite, field, 0).astype(np.complex128), np.asarray(finite, dtype=np.bool_)


def _overlap(
    shape: tuple[int, ...], target: tuple[int, ...], offset: tuple[int, int]
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Window of an image that lies on the target if placed at ``offset``, and its window on the target."""
    inside, onto = [], []
    for side, target_side, start in zip(shape, target, offset, strict=True):
        low, high = max(0, -start), max(min(side, target_side - start), max(0, -start))
        inside.append(slice(low, high))
        onto.append(slice(low + start, high + start))
    return (inside[0], inside[1]), (onto[0], onto[1])
