"""Registration of complex images: where one lies on the other, and the least-squares fit between them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.fft import next_fast_len

Field = NDArray[np.complex128]
Mask = NDArray[np.bool_]
Window = tuple[slice, slice]
Pair = tuple[float, float]

_PAD = 32  # mirrored pixels around an image, so that moving it does not bring its far edge in
_ROUNDS = 12
_SMALL_PX = 1e-5


def place_roughly(field: Field, mask: Mask, target: Field, target_mask: Mask) -> Pair:
    """Where pixel (0, 0) of ``field`` lies on ``target``, to a pixel, from the peak of their cross-correlation.

    Each image is freed of its own phase plane and mean first; both may differ between the two.
    """
    shape = [next_fast_len(a + b - 1) for a, b in zip(field.shape, target.shape, strict=True)]
    spectra = [np.fft.fft2(_structure(image, area), s=shape) for image, area in ((field, mask), (target, target_mask))]
    correlation = np.abs(np.fft.ifft2(np.conj(spectra[0]) * spectra[1]))
    peak = np.unravel_index(int(np.argmax(correlation)), correlation.shape)
    y, x = (
        int(at) - (n if at >= side else 0) for at, n, side in zip(peak, correlation.shape, target.shape, strict=True)
    )
    return float(y), float(x)


def _structure(image: Field, area: Mask) -> Field:
    level = image * np.exp(-1j * _plane(image.shape, _carrier(image * area)))
    return np.asarray(np.where(area, level - level[area].mean(), 0), dtype=np.complex128)


def fit(field: Field, inside: Window, target: Field, mask: Mask) -> tuple[Field, Pair]:
    """Shift, complex factor and phase plane that bring a window of ``field`` closest to ``target``.

    Starts from skimage's registration and the peak of the ratio's spectrum, then Gauss-Newton steps on all
    six numbers at once, minimising ``sum |target - factor exp(i plane) field(. - shift)|^2`` over the mask.

    Args:
        field: The image to move; pixels outside the window are used where the shift brings them in.
        inside: Window of ``field`` that lies on ``target``.
        target: ``(y, x)``, of the window's size.
        mask: Pixels that count, of the same size.

    Returns:
        The moved, scaled window, and the shift (y, x) in pixels.
    """
    start = _first_shift(field[inside], target, mask)
    slope = _carrier(np.where(mask, target * np.conj(_Movable(field, inside).at(start)), 0))
    # without its phase plane the image continues smoothly into its mirrored margin
    movable = _Movable(field * np.exp(1j * _plane(field.shape, slope)), inside)
    state = np.array([*start, 0.0, 0.0], dtype=np.float64)
    y, x = (axis - axis.mean() for axis in np.indices(target.shape, dtype=np.float64))
    wanted = target[mask]
    for _ in range(_ROUNDS):
        ramp = np.exp(1j * (state[2] * y + state[3] * x))[mask]
        moved, along_y, along_x = (part[mask] * ramp for part in movable.with_slopes((state[0], state[1])))
        factor = np.vdot(moved, wanted) / max(float(np.vdot(moved, moved).real), 1e-30)
        model = factor * moved
        columns = [-factor * along_y, -factor * along_x, 1j * y[mask] * model, 1j * x[mask] * model, model, 1j * model]
        step = _solve(columns, wanted - model)
        # far from the minimum the linear step overshoots; a pixel at a time is enough
        step *= min(1.0, 1.0 / max(float(np.abs(step[:2]).max()), 1e-30))
        state += step[:4]
        if np.abs(step[:2]).max() < _SMALL_PX and np.abs(step[2:4]).max() * max(target.shape) < _SMALL_PX:
            break
    moved = movable.at((state[0], state[1])) * np.exp(1j * (state[2] * y + state[3] * x))
    factor = np.vdot(moved[mask], wanted) / max(float(np.vdot(moved[mask], moved[mask]).real), 1e-30)
    return np.asarray(factor * moved, dtype=np.complex128), (float(state[0]), float(state[1]))


class _Movable:
    """An image that can be moved by any distance, with mirrored edges, through the shift theorem."""

    def __init__(self, field: Field, inside: Window) -> None:
        padded = np.pad(field, _PAD, mode="reflect" if min(field.shape) > _PAD else "edge")
        level = field.mean()
        padded = level + (padded - level) * _fade(padded.shape[0])[:, None] * _fade(padded.shape[1])
        self._spectrum = np.fft.fft2(padded)
        frequency = [2j * np.pi * np.fft.fftfreq(n) for n in padded.shape]
        self._frequency = frequency[0][:, None], frequency[1][None, :]
        self._window = tuple(slice(part.start + _PAD, part.stop + _PAD) for part in _whole(inside, field.shape))

    def at(self, shift: Pair) -> Field:
        """The window's content when the image is moved by ``shift`` (y, x) to larger indices."""
        return self._window_of(self._moved(shift))

    def with_slopes(self, shift: Pair) -> tuple[Field, Field, Field]:
        """The same, and its derivatives along y and x."""
        moved = self._moved(shift)
        along_y, along_x = (self._window_of(moved * axis) for axis in self._frequency)
        return self._window_of(moved), along_y, along_x

    def _moved(self, shift: Pair) -> Field:
        ramps = [np.exp(-axis * distance) for axis, distance in zip(self._frequency, shift, strict=True)]
        return np.asarray(self._spectrum * ramps[0] * ramps[1], dtype=np.complex128)

    def _window_of(self, spectrum: Field) -> Field:
        return np.asarray(np.fft.ifft2(spectrum)[self._window], dtype=np.complex128)


def _fade(side: int) -> NDArray[np.float64]:
    """1 inside, falling to 0 over the margin, so that the two ends meet."""
    to_end = np.minimum(np.arange(side), np.arange(side)[::-1])
    return np.asarray(np.sin(np.pi / 2 * np.minimum(1.0, (to_end + 0.5) / _PAD)) ** 2, dtype=np.float64)


def _whole(window: Window, shape: tuple[int, ...]) -> Window:
    """The window with its ends spelled out."""
    spelled = [slice(*part.indices(side)[:2]) for part, side in zip(window, shape, strict=True)]
    return spelled[0], spelled[1]


def _first_shift(moving: Field, target: Field, mask: Mask) -> Pair:
    from skimage.registration import phase_cross_correlation

    structures = [_structure(image, mask) for image in (target, moving)]
    if min(float(np.abs(structure).max()) for structure in structures) < 1e-9:
        return 0.0, 0.0  # a flat object is the same wherever it lies
    shift, _, _ = phase_cross_correlation(  # type: ignore[no-untyped-call]
        *structures, upsample_factor=20, normalization=None
    )
    return float(shift[0]), float(shift[1])


def _solve(columns: list[Field], rest: Field) -> NDArray[np.float64]:
    """Least squares for real unknowns, by their normal equations scaled to a unit diagonal."""
    gram = np.array([[float(np.vdot(a, b).real) for b in columns] for a in columns])
    right = np.array([float(np.vdot(a, rest).real) for a in columns])
    scale = 1 / np.sqrt(np.maximum(np.diag(gram), 1e-30))
    solution, *_ = np.linalg.lstsq(gram * scale[:, None] * scale[None, :], right * scale, rcond=1e-9)
    return np.asarray(solution * scale, dtype=np.float64)


def _carrier(field: Field) -> Pair:
    """Slope (y, x) in radians a pixel of the plane wave that a field resembles most."""
    shape = [next_fast_len(4 * n) for n in field.shape]
    spectrum = np.abs(np.fft.fft2(field, s=shape))
    peak = np.unravel_index(int(np.argmax(spectrum)), spectrum.shape)
    y, x = (2 * np.pi * float(np.fft.fftfreq(n)[at]) for at, n in zip(peak, spectrum.shape, strict=True))
    return y, x


def _plane(shape: tuple[int, ...], slope: Pair) -> NDArray[np.float64]:
    y, x = (np.arange(n) - (n - 1) / 2 for n in shape)
    return np.asarray(slope[0] * y[:, None] + slope[1] * x[None, :], dtype=np.float64)
