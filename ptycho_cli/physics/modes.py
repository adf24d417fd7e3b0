"""Incoherent modes of a probe: orthogonal modes, and probes with more or fewer modes."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ptycho_cli.physics.gauge import centre_of_mass

ADDED_SHARE = 0.03  # of the photons, of all added modes together


def orthogonal_modes(probe: Tensor) -> Tensor:
    """Return the orthogonal modes of a probe, the strongest first.

    They are the principal components. A unitary combination of modes changes neither a frame nor the mutual intensity
    ``sum_m P_m(a) conj(P_m(b))``, and of all combinations only the orthogonal one can be compared between probes. One
    mode stays as it is.

    Args:
        probe: Complex ``(mode, y, x)``.

    Returns:
        Complex ``(mode, y, x)``; each mode has the phase of the original mode that contributes most to it.

    Source: Thibault and Menzel (2013), doi:10.1038/nature11806.
    """
    if len(probe) == 1:
        return probe
    modes = probe.flatten(1).to(torch.complex128)
    _, weights = torch.linalg.eigh(modes @ modes.mH)  # one column a mode, by rising power
    weights = weights.flip(1)
    largest = weights.gather(0, weights.abs().argmax(0, keepdim=True))
    weights = weights * (largest.conj() / largest.abs())
    orthogonal: Tensor = (weights.mH @ modes).reshape(probe.shape).to(probe)
    return orthogonal


def with_modes(probe: Tensor, count: int, share: float = ADDED_SHARE) -> Tensor:
    """Return a probe with ``count`` modes: modes are added, or the strongest are kept. The photons stay the same.

    An added mode is the strongest mode times a polynomial of (y, x), made orthogonal to all other modes: an extended
    source has such modes (Hermite polynomials). All added modes have the same photons.

    Args:
        probe: Complex ``(mode, y, x)``.
        count: Number of modes, at least 1.
        share: Share of the photons in all added modes together.

    Returns:
        Complex ``(count, y, x)``; ``probe`` itself if it has as many modes.
    """
    if count == len(probe):
        return probe
    photons = float(probe.abs().square().sum())
    modes = orthogonal_modes(probe)
    if count < len(probe):
        kept = modes[:count]
        return kept * math.sqrt(photons / float(kept.abs().square().sum()))
    basis = list((modes / modes.abs().square().sum((1, 2), keepdim=True).sqrt().clamp_min(1e-30)).to(torch.complex128))
    for guess in _polynomials(modes[:1].to(torch.complex128), count - len(probe)):
        for _ in range(2):  # one pass leaves rounding errors
            for other in basis:
                guess = guess - (other.conj() * guess).sum() * other
        basis.append(guess / torch.linalg.vector_norm(guess))
    added = torch.stack(basis[len(probe) :]).to(probe) * math.sqrt(share * photons / (count - len(probe)))
    return torch.cat([modes * math.sqrt(1 - share), added])


def _polynomials(mode: Tensor, count: int) -> list[Tensor]:
    """Return a mode ``(1, y, x)`` times ``y, x, y^2, y x, x^2, ...``, each ``(y, x)``.

    Coordinates are relative to the centre of mass and in units of the mode's width.
    """
    centre = centre_of_mass(mode)
    rows, columns = (torch.arange(n, device=mode.device, dtype=torch.float64) for n in mode.shape[-2:])
    y, x = rows[:, None] - centre[0], columns[None, :] - centre[1]
    photons = mode[0].abs().square()
    width = ((photons * (y.square() + x.square())).sum() / photons.sum() / 2).sqrt().clamp_min(1e-3)
    y, x = y / width, x / width
    orders = ((order - power, power) for order in range(1, count + 1) for power in range(order + 1))
    return [mode[0] * y**down * x**across for (down, across), _ in zip(orders, range(count), strict=False)]
