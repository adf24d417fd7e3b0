"""What photon noise and a smooth prior leave of an object: the bound that no reconstruction passes on average."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from benchmark_parts.harness import head, ptycho, row

# First row and column of a cross of masked pixels and its width, in frames of 32 px; width 0 masks nothing
CROSSES = ((0, 0), (10, 2), (13, 2))
LIT = 0.1  # of the most light that a pixel of the object has; errors are counted where there is more
FEWEST_PHOTONS = 1e-3  # expected on a pixel, so that none has infinite weight


def bound(folder: Path) -> None:
    """Least error of an object at the true probe: SNR in dB by the linearised frames and a Gaussian prior."""
    path = folder / "bound.h5"
    words = ("--object", "siemens", "--size", "32", "--frames", "100", "--photons", "1e4", "--seed", "21", "--force")
    ptycho("simulate", "-o", str(path), *words)
    with h5py.File(path) as file:
        counts, positions, probe, truth = (
            file[name][()] for name in ("counts", "positions_px", "probe", "object_true")
        )
    probe = probe[0] * np.sqrt(counts.sum() / len(counts) / (np.abs(probe[0]) ** 2).sum())
    n = len(probe)
    corners = np.round(positions - positions.min(axis=0)).astype(int)
    corners += (np.array(truth.shape) - corners.max(axis=0) - n) // 2
    head("masked pixels", "light hidden", "SNR dB")
    for first, width in CROSSES:
        valid, cross = np.ones((n, n), dtype=np.bool_), slice(first, first + width)
        valid[cross], valid[:, cross] = False, False
        found = least_error(truth, probe, corners, valid)
        row(int((~valid).sum()), f"{counts[:, ~valid].sum() / counts.sum():.1%}", f"{found:.2f}")


def least_error(
    truth: NDArray[np.complexfloating], probe: NDArray[np.complexfloating], corners: NDArray[np.int_],
    valid: NDArray[np.bool_],
) -> float:  # fmt: skip
    """SNR in dB of the mean object given the frames.

    The inverse covariance is the Fisher information of Poisson counts plus that of a stationary Gaussian prior with
    the mean power spectrum of the true object.

    Args:
        truth: The object, complex ``(y, x)``.
        probe: In square roots of photons, complex ``(y, x)``.
        corners: First row and column of each frame on the object, ``(frame, 2)``.
        valid: Detector pixels that count, zero frequency at ``n // 2``.
    """
    n, size = len(probe), truth.size
    one = np.fft.fft(np.eye(n), norm="ortho")
    transform = np.kron(one, one)[np.fft.ifftshift(valid).ravel()]
    pixels = np.arange(size).reshape(truth.shape)
    information, light = np.zeros((2 * size, 2 * size), dtype=np.float32), np.zeros(truth.shape)
    for y, x in corners:
        window = slice(y, y + n), slice(x, x + n)
        light[window] += np.abs(probe) ** 2
        far = transform @ (probe * truth[window]).ravel()
        wave = far.conj()[:, None] * transform * probe.ravel() / np.sqrt(np.abs(far) ** 2 + FEWEST_PHOTONS)[:, None]
        slopes = 2 * np.concatenate((wave.real, -wave.imag), axis=1).astype(np.float32)
        rows = np.concatenate((pixels[window].ravel(), size + pixels[window].ravel()))
        information[np.ix_(rows, rows)] += slopes.T @ slopes
    lit = light > LIT * light.max()
    inverse = np.linalg.inv(_prior_covariance(truth, lit))
    information[:size, :size] += inverse
    information[size:, size:] += inverse
    variance = np.diag(np.linalg.inv(information)).reshape(2, *truth.shape).sum(axis=0)
    return float(10 * np.log10((np.abs(truth[lit]) ** 2).sum() / variance[lit].sum()))


def _prior_covariance(truth: NDArray[np.complexfloating], lit: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Covariance of the real, and of the imaginary parts of an object, ``(pixel, pixel)``."""
    power = np.abs(np.fft.fft2((truth - truth[lit].mean()) * lit)) ** 2 / lit.sum()
    radius = np.hypot(*np.meshgrid(*(np.fft.fftfreq(side) for side in truth.shape), indexing="ij"))
    ring = (radius * min(truth.shape)).astype(int).ravel()
    mean = np.bincount(ring, power.ravel()) / np.bincount(ring)
    smooth = np.maximum(mean, 1e-4 * mean.max())[ring].reshape(truth.shape)
    shared = np.fft.ifft2(smooth).real / 2
    rows, columns = np.divmod(np.arange(truth.size), truth.shape[1])
    apart = rows[:, None] - rows, columns[:, None] - columns
    return (shared[apart] + 1e-3 * shared[0, 0] * np.eye(truth.size)).astype(np.float32)
