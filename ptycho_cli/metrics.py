"""Scores of reconstructions, by one convention: align, then compare where there is coverage.

A reconstruction is fixed only up to a shift, a complex factor and a phase plane; ``align`` removes them
by least squares on the complex field. Compared are pixels whose coverage is at least a tenth of its median.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ptycho_cli.errors import ShapeError
from ptycho_cli.geometry import covered_area
from ptycho_cli.registration import fit, place_roughly

Field = NDArray[np.complex128]
Mask = NDArray[np.bool_]
Image = NDArray[np.float64]

_MIN_RING = 0.1  # rings below this, in units of Nyquist, hold too few pixels to say anything
_MIN_AREA = 64
_PLACINGS = 3
_MIN_BOX = 16
_SPREAD_WINDOW = 3
_TINY = 1e-30  # keeps the logarithm of a perfect score finite


@dataclass(frozen=True, eq=False)
class Aligned:
    """A reconstruction brought onto its reference; all arrays ``(y, x)`` of the window that they share.

    Attributes:
        object: The reconstruction, shifted, scaled and without its phase plane.
        reference: The reference.
        covered: Pixels to compare.
        offset_px: Where the reconstruction's pixel (0, 0) came to lie on the reference, (y, x).
        window: Rows and columns of the reference that the arrays are.
    """

    object: Field
    reference: Field
    covered: Mask
    offset_px: tuple[float, float]
    window: tuple[slice, slice]


@dataclass(frozen=True)
class Scores:
    """The metrics that ``ptycho evaluate`` prints; higher is better for every one of them.

    PSNR and SSIM take as data range the range of the reference where it is covered. Cuts of the
    Fourier-ring correlation are in units of Nyquist; 1 means that it stays above the threshold.
    """

    amplitude_ssim: float
    phase_ssim: float
    amplitude_psnr_db: float
    phase_psnr_db: float
    complex_snr_db: float
    frc50_nyquist: float
    frc143_nyquist: float
    frc_half_bit_nyquist: float


def align(
    obj: NDArray[np.complexfloating[Any, Any]],
    reference: NDArray[np.complexfloating[Any, Any]],
    *,
    coverage: NDArray[np.floating[Any]] | None = None,
    offset_px: tuple[float, float] | None = None,
) -> Aligned:
    """Remove shift, complex factor and phase plane between a reconstruction and a reference.

    Args:
        obj: Reconstruction, ``(y, x)``; pixels that are not finite count as not covered.
        reference: Known object, or another reconstruction, of any shape; the same of its pixels.
        coverage: How much light each pixel of ``obj`` got; None compares all of it.
        offset_px: Where pixel (0, 0) of ``obj`` should lie on the reference; None finds it by cross-correlation.

    Returns:
        Both on the pixels of the reference that they share.

    Raises:
        ShapeError: If the two share too few covered pixels.
    """
    field, finite = _finite(obj)
    target, target_finite = _finite(reference)
    covered = finite if coverage is None else finite & covered_area(coverage)
    if covered.sum() < _MIN_AREA:
        raise ShapeError(f"only {int(covered.sum())} pixels of the object are covered, expected {_MIN_AREA} or more.")
    rough = place_roughly(field, covered, target, target_finite) if offset_px is None else offset_px
    for _ in range(_PLACINGS):
        whole = int(np.rint(rough[0])), int(np.rint(rough[1]))
        inside, onto = _overlap(field.shape, target.shape, whole)
        mask = covered[inside] & target_finite[onto]
        if mask.sum() < _MIN_AREA:
            raise ShapeError(
                f"the object {field.shape} and the reference {target.shape} share {int(mask.sum())} covered pixels "
                f"when laid at {whole}, expected {_MIN_AREA} or more.",
                hint="Is this the reference of this scan?",
            )
        moved, shift = fit(field, inside, target[onto], mask)
        rough = whole[0] + shift[0], whole[1] + shift[1]
        if max(abs(shift[0]), abs(shift[1])) < 0.75:  # else the mask and the window lie a pixel beside the image
            break
    return Aligned(moved, target[onto], mask, rough, onto)


def score(aligned: Aligned) -> Scores:
    """All metrics of an aligned pair, against its reference as the truth."""
    truth, found, area = aligned.reference, aligned.object, aligned.covered
    turn = np.exp(-1j * np.angle(truth[area].mean()))  # wraps of the phase are farthest away at mean phase 0
    phase = np.angle(truth * turn)
    # the same branch as the truth's, so that a wrap there is none between the two
    found_phase = phase + np.angle(found * np.conj(truth))
    curve = frc(found, truth, area)
    return Scores(
        amplitude_ssim=ssim(np.abs(truth), np.abs(found), area),
        phase_ssim=ssim(phase, found_phase, area),
        amplitude_psnr_db=psnr_db(np.abs(truth), np.abs(found), area),
        phase_psnr_db=psnr_db(phase, found_phase, area),
        complex_snr_db=snr_db(aligned),
        frc50_nyquist=curve.cut(0.5),
        frc143_nyquist=curve.cut(1 / 7),
        frc_half_bit_nyquist=curve.cut(curve.half_bit),
    )


def snr_db(aligned: Aligned) -> float:
    """Complex signal-to-noise ratio of an aligned pair: ``10 log10(sum |t|^2 / sum |o - t|^2)``."""
    truth, area = aligned.reference, aligned.covered
    error = float(np.sum(np.abs(aligned.object - truth)[area] ** 2))
    return 10 * float(np.log10(float(np.sum(np.abs(truth[area]) ** 2)) / max(error, _TINY)))


def score_flat(aligned: Aligned) -> Scores:
    """The same metrics of the trivial answer, an object that is 1 everywhere, aligned alike."""
    flat = np.ones_like(aligned.reference)
    whole = (slice(None), slice(None))
    moved, _ = fit(flat, whole, aligned.reference, aligned.covered)
    return score(replace(aligned, object=moved))


def report(aligned: Aligned) -> dict[str, Any]:
    """The metrics by name, and the flat object's under ``flat_object``: what ``ptycho evaluate --json`` prints."""
    return {**asdict(score(aligned)), "flat_object": asdict(score_flat(aligned))}


def phase_correlation(aligned: Aligned) -> float:
    """Pearson correlation of the two phases over the covered area, from -1 to 1."""
    turn = np.exp(-1j * np.angle(aligned.reference[aligned.covered].mean()))
    phases = [np.angle(field * turn)[aligned.covered] for field in (aligned.object, aligned.reference)]
    deviations = [phase - phase.mean() for phase in phases]
    norms = np.prod([np.sqrt(np.sum(d**2)) for d in deviations])
    return float(np.sum(deviations[0] * deviations[1]) / max(float(norms), _TINY))


def psnr_db(truth: Image, found: Image, area: Mask) -> float:
    """Peak signal-to-noise ratio over an area, the peak being the range of the truth there."""
    squares = float(np.mean((found - truth)[area] ** 2))
    return 10 * float(np.log10(max(float(np.ptp(truth[area])), _TINY) ** 2 / max(squares, _TINY)))


def ssim(truth: Image, found: Image, area: Mask) -> float:
    """Structural similarity with scikit-image's window, its map averaged over an area."""
    from skimage.metrics import structural_similarity

    data_range = max(float(np.ptp(truth[area])), _TINY)
    _, similarity = structural_similarity(truth, found, data_range=data_range, full=True)  # type: ignore[no-untyped-call]
    return float(similarity[area].mean())


@dataclass(frozen=True, eq=False)
class RingCorrelation:
    """Fourier-ring correlation.

    Attributes:
        radius: Middle of each ring in units of Nyquist.
        correlation: Real part of the normalised correlation in each ring.
        half_bit: Half-bit threshold of each ring.
    """

    radius: Image
    correlation: Image
    half_bit: Image

    def cut(self, threshold: float | Image) -> float:
        """Radius at which the correlation first falls below a threshold; 1 if it never does."""
        margin = self.correlation - threshold
        below = np.flatnonzero((margin < 0) & (self.radius >= _MIN_RING))
        if below.size == 0:
            return 1.0
        ring = int(below[0])
        if ring == 0 or margin[ring - 1] <= 0 or self.radius[ring - 1] < _MIN_RING:
            return float(self.radius[ring])
        share = margin[ring - 1] / (margin[ring - 1] - margin[ring])
        return float(self.radius[ring - 1] + share * (self.radius[ring] - self.radius[ring - 1]))


def frc(first: Field, second: Field, area: Mask) -> RingCorrelation:
    """Fourier-ring correlation of two aligned complex images, under a Hann window over ``inner_rectangle``.

    The area's own outline would be the same edge in both images, and correlate with itself; it is used only
    where no rectangle of 16 x 16 pixels lies inside.

    Source: van Heel and Schatz (2005), doi:10.1016/j.jsb.2005.05.009; half-bit threshold: equation 17.
    """
    box, inside = inner_rectangle(area), np.ones_like(area)
    if min(part.stop - part.start for part in box) < _MIN_BOX:
        rows, columns = np.flatnonzero(area.any(axis=1)), np.flatnonzero(area.any(axis=0))
        box, inside = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)), area
    shape = area[box].shape
    window = np.hanning(shape[0])[:, None] * np.hanning(shape[1])[None, :] * inside[box]
    spectra = [np.fft.fft2((field[box] - field[box][inside[box]].mean()) * window) for field in (first, second)]
    frequency = np.hypot(*np.meshgrid(*(np.fft.fftfreq(n) for n in shape), indexing="ij"))
    n_rings = min(shape) // 2
    ring = np.floor(frequency / 0.5 * n_rings).astype(np.int64)
    used = ring < n_rings

    def per_ring(values: Image) -> Image:
        return np.bincount(ring[used], weights=values[used], minlength=n_rings).astype(np.float64)

    cross = per_ring(np.real(spectra[0] * np.conj(spectra[1])))
    power = [per_ring(np.abs(spectrum) ** 2) for spectrum in spectra]
    root = np.sqrt(np.maximum(per_ring(np.ones(frequency.shape)), 1))
    half_bit = (0.2071 + 1.9102 / root) / (1.2071 + 0.9102 / root)
    correlation = cross / np.maximum(np.sqrt(power[0] * power[1]), _TINY)
    return RingCorrelation((np.arange(n_rings) + 0.5) / n_rings, correlation, half_bit)


def inner_rectangle(area: Mask) -> tuple[slice, slice]:
    """The largest rectangle inside an area, enclosed holes counting as inside; empty where the area is."""
    from scipy.ndimage import binary_fill_holes

    filled = binary_fill_holes(area)
    heights, best = np.zeros(area.shape[1] + 1, dtype=np.int64), (0, 0, 0, 0, 0)
    for row in range(area.shape[0]):
        heights[:-1] = np.where(filled[row], heights[:-1] + 1, 0)  # of the column of inside pixels that ends here
        started: list[tuple[int, int]] = []  # (leftmost column that is at least as high, height), rising
        for column, height in enumerate(heights.tolist()):
            left = column
            while started and started[-1][1] >= height:
                left, high = started.pop()
                best = max(best, (high * (column - left), row + 1 - high, row + 1, left, column))
            started.append((left, height))
    _, top, bottom, left, right = best
    return slice(top, bottom), slice(left, right)


def half_spread(first: Field, second: Field, area: Mask) -> tuple[Image, Image]:
    """Standard error of amplitude and phase of a reconstruction, from those of its two halves.

    Half the halves' difference, root mean square over 3 x 3 pixels of the area; NaN outside it. Where noise is all that
    differs, the mean of both halves, and so a reconstruction from all frames, is uncertain by that much.
    """
    from scipy.ndimage import uniform_filter

    share = uniform_filter(area.astype(np.float64), _SPREAD_WINDOW, mode="constant")
    amplitude = np.abs(first) - np.abs(second)
    phase = np.angle(first * np.conj(second))

    def spread(difference: Image) -> Image:
        # running sums leave rounding errors below 0 where there is nothing
        squares = uniform_filter(np.where(area, difference**2 / 4, 0.0), _SPREAD_WINDOW, mode="constant").clip(min=0)
        return np.where(area, np.sqrt(squares / np.maximum(share, _TINY)), np.nan)

    return spread(amplitude), spread(phase)


def r_factor(counts: NDArray[Any], rate: NDArray[Any], mask: Mask | None = None) -> float:
    """``sum |sqrt(counts) - sqrt(rate)| / sum sqrt(counts)`` over trusted pixels; 0 is a perfect fit."""
    trusted = np.ones(counts.shape[-2:], dtype=np.bool_) if mask is None else mask
    measured, expected = (np.sqrt(frames[..., trusted].astype(np.float64)) for frames in (counts, rate))
    return float(np.abs(measured - expected).sum() / max(float(measured.sum()), _TINY))


def _finite(field: NDArray[np.complexfloating[Any, Any]]) -> tuple[Field, Mask]:
    """The field with 0 where it is not finite, and where it is."""
    if field.ndim != 2:
        raise ShapeError(f"the object is {field.shape}, expected an image (y, x).")
    finite = np.isfinite(field)
    return np.where(finite, field, 0).astype(np.complex128), np.asarray(finite, dtype=np.bool_)


def _overlap(
    shape: tuple[int, ...], target: tuple[int, ...], offset: tuple[int, int]
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """The part of an image that lies on the target when put at ``offset``, and where it lies there."""
    inside, onto = [], []
    for side, target_side, start in zip(shape, target, offset, strict=True):
        low, high = max(0, -start), max(min(side, target_side - start), max(0, -start))
        inside.append(slice(low, high))
        onto.append(slice(low + start, high + start))
    return (inside[0], inside[1]), (onto[0], onto[1])
