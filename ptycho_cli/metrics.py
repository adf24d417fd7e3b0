"""Metrics of reconstructions that were aligned with a reference by ``registration.align``.

Complex fields are compared, and their amplitudes and phases, over the pixels that are covered.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ptycho_cli.registration import Aligned, Field, Mask, register

Image = NDArray[np.float64]

_MIN_RING = 0.1  # in units of Nyquist: rings below have too few pixels
_MIN_BOX = 16  # pixels
_SPREAD_WINDOW = 3  # pixels
_TINY = 1e-30  # keeps the logarithm of a perfect score finite


@dataclass(frozen=True)
class Scores:
    """The metrics that ``ptycho evaluate`` prints; higher is better for each.

    The data range of PSNR and SSIM is the range of the reference over the covered pixels. The Fourier ring
    correlation falls below its thresholds at ``frc...``, in units of Nyquist; 1 if it never does.
    """

    amplitude_ssim: float
    phase_ssim: float
    amplitude_psnr_db: float
    phase_psnr_db: float
    complex_snr_db: float
    frc50_nyquist: float
    frc143_nyquist: float
    frc_half_bit_nyquist: float


def score(aligned: Aligned) -> Scores:
    """Compute all metrics of an aligned pair, with its reference as the truth."""
    truth, found, area = aligned.reference, aligned.object, aligned.covered
    to_zero_mean = np.exp(-1j * np.angle(truth[area].mean()))  # the phase then wraps as little as possible
    phase = np.angle(truth * to_zero_mean)
    # on the same branch as the truth, so that a phase that wraps in both is no error
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
    """Compute the same metrics of the flat object, which is 1 everywhere, after the same alignment."""
    flat = np.ones_like(aligned.reference)
    whole = (slice(None), slice(None))
    moved, _ = register(flat, whole, aligned.reference, aligned.covered)
    return score(replace(aligned, object=moved))


def report(aligned: Aligned) -> dict[str, Any]:
    """Metrics by name, and the flat object's under ``flat_object``, as ``ptycho evaluate --json`` prints them."""
    return {**asdict(score(aligned)), "flat_object": asdict(score_flat(aligned))}


def phase_correlation(aligned: Aligned) -> float:
    """Pearson correlation of the two phases over the covered pixels, from -1 to 1."""
    to_zero_mean = np.exp(-1j * np.angle(aligned.reference[aligned.covered].mean()))
    phases = [np.angle(field * to_zero_mean)[aligned.covered] for field in (aligned.object, aligned.reference)]
    deviations = [phase - phase.mean() for phase in phases]
    norms = np.prod([np.sqrt(np.sum(d**2)) for d in deviations])
    return float(np.sum(deviations[0] * deviations[1]) / max(float(norms), _TINY))


def psnr_db(truth: Image, found: Image, area: Mask) -> float:
    """Peak signal-to-noise ratio over an area; the peak is the range of the truth there."""
    squares = float(np.mean((found - truth)[area] ** 2))
    return 10 * float(np.log10(max(float(np.ptp(truth[area])), _TINY) ** 2 / max(squares, _TINY)))


def ssim(truth: Image, found: Image, area: Mask) -> float:
    """Mean structural similarity over an area, with scikit-image's default window."""
    from skimage.metrics import structural_similarity

    data_range = max(float(np.ptp(truth[area])), _TINY)
    _, similarity = structural_similarity(truth, found, data_range=data_range, full=True)  # type: ignore[no-untyped-call]
    return float(similarity[area].mean())


@dataclass(frozen=True, eq=False)
class RingCorrelation:
    """Fourier ring correlation.

    Attributes:
        radius: Middle of each ring, in units of Nyquist.
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
    """Fourier ring correlation of two aligned complex images, under a Hann window over ``inner_rectangle``.

    A window with the outline of the area would put the same edge into both images, which correlates with
    itself. It is used only where no rectangle of 16 x 16 pixels fits inside.

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
    """Largest rectangle inside an area, whose enclosed holes count as inside; empty if the area is empty."""
    from scipy.ndimage import binary_fill_holes

    filled = binary_fill_holes(area)
    heights, best = np.zeros(area.shape[1] + 1, dtype=np.int64), (0, 0, 0, 0, 0)
    for row in range(area.shape[0]):
        heights[:-1] = np.where(filled[row], heights[:-1] + 1, 0)  # pixels of each column that end in this row
        started: list[tuple[int, int]] = []  # (leftmost column of at least this height, height), heights rising
        for column, height in enumerate(heights.tolist()):
            left = column
            while started and started[-1][1] >= height:
                left, high = started.pop()
                best = max(best, (high * (column - left), row + 1 - high, row + 1, left, column))
            started.append((left, height))
    _, top, bottom, left, right = best
    return slice(top, bottom), slice(left, right)


def half_spread(first: Field, second: Field, area: Mask) -> tuple[Image, Image]:
    """Standard errors of amplitude and phase of a reconstruction, from reconstructions of two halves of its frames.

    Half the difference of the halves, root mean square over 3 x 3 pixels of the area; NaN outside it. If the halves
    differ by noise only, this is the standard error of their mean, and so of a reconstruction from all frames.
    """
    from scipy.ndimage import uniform_filter

    share = uniform_filter(area.astype(np.float64), _SPREAD_WINDOW, mode="constant")
    amplitude = np.abs(first) - np.abs(second)
    phase = np.angle(first * np.conj(second))

    def spread(difference: Image) -> Image:
        # running sums leave rounding errors below 0
        squares = uniform_filter(np.where(area, difference**2 / 4, 0.0), _SPREAD_WINDOW, mode="constant").clip(min=0)
        return np.where(area, np.sqrt(squares / np.maximum(share, _TINY)), np.nan)

    return spread(amplitude), spread(phase)


def r_factor(counts: NDArray[Any], rate: NDArray[Any], mask: Mask | None = None) -> float:
    """``sum |sqrt(counts) - sqrt(rate)| / sum sqrt(counts)`` over valid pixels; 0 is a perfect fit.

    Args:
        counts: Measured photons, ``(..., y, x)``.
        rate: Expected photons, same shape.
        mask: True for valid pixels, ``(y, x)``; None if all are.
    """
    valid = np.ones(counts.shape[-2:], dtype=np.bool_) if mask is None else mask
    measured, expected = (np.sqrt(frames[..., valid].astype(np.float64)) for frames in (counts, rate))
    return float(np.abs(measured - expected).sum() / max(float(measured.sum()), _TINY))
