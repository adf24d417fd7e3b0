"""Incoherent modes of a probe: more of them, fewer, and the one mix of them that is orthogonal."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ptycho_cli.physics.gauge import centre_of_mass

ADDED_SHARE = 0.03  # of the light, of all modes together that are added


def orthogonal_modes(probe: Tensor) -> Tensor:
    """The mix of a probe's modes in which they are orthogonal, the strongest first.

    A unitary mix changes neither any frame nor the mutual intensity ``sum_m P_m(a) conj(P_m(b))``, so this one, the
    principal components, says the same in a form that can be compared. One mode stays as it is.

    Args:
        probe: Complex ``(mode, y, x)``.

    Returns:
        Complex ``(mode, y, x)``; each mode has the phase of what it is mostly made of.

    Source: Thibault and Menzel (2013), doi:10.1038/nature11806.
    """
    if len(probe) == 1:
        return probe
    modes = probe.flatten(1).to(torch.complex128)
    _, mixes = torch.linalg.eigh(modes @ modes.mH)  # columns, by rising power
    mixes = mixes.flip(1)
    leading = mixes.gather(0, mixes.abs().argmax(0, keepdim=True))
    mixes = mixes * (leading.conj() / leading.abs())
    made: Tensor = (mixes.mH @ modes).reshape(probe.shape).to(probe)
    return made


def with_modes(probe: Tensor, count: int, share: float = ADDED_SHARE) -> Tensor:
    """A probe of so many modes: further ones are added, or the strongest are kept, scaled to the light of all.

    What is added is the strongest mode times Hermite-like polynomials of (y, x), of rising order, as a source of some
    width brings them in; orthogonal to all others, and of equal light.

    Args:
        probe: Complex ``(mode, y, x)``.
        count: Modes to have, at least 1.
        share: Share of the light that the added modes have together.

    Returns:
        Complex ``(count, y, x)`` of the light of ``probe``; as it is where it has as many.
    """
    if count == len(probe):
        return probe
    light = float(probe.abs().square().sum())
    modes = orthogonal_modes(probe)
    if count < len(probe):
        kept = modes[:count]
        return kept * math.sqrt(light / float(kept.abs().square().sum()))
    found = list((modes / modes.abs().square().sum((1, 2), keepdim=True).sqrt().clamp_min(1e-30)).to(torch.complex128))
    for guess in _polynomials(modes[:1].to(torch.complex128), count - len(probe)):
        for _ in range(2):  # once is not enough in floating point
            for other in found:
                guess = guess - (other.conj() * guess).sum() * other
        found.append(guess / torch.linalg.vector_norm(guess))
    added = torch.stack(found[len(probe) :]).to(probe) * math.sqrt(share * light / (count - len(probe)))
    return torch.cat([modes * math.sqrt(1 - share), added])


def mode_shares(probe: Tensor) -> list[float]:
    """Share of the light in each mode of ``(mode, y, x)``."""
    power = probe.abs().square().sum((1, 2), dtype=torch.float64)
    return [float(part) for part in power / power.sum()]


def _polynomials(mode: Tensor, count: int) -> list[Tensor]:
    """A mode ``(1, y, x)`` times ``y, x, y^2, y x, x^2, ...``, around its centre of mass and in units of its width."""
    centre = centre_of_mass(mode)
    rows, columns = (torch.arange(n, device=mode.device, dtype=torch.float64) for n in mode.shape[-2:])
    y, x = rows[:, None] - centre[0], columns[None, :] - centre[1]
    light = mode[0].abs().square()
    width = ((light * (y.square() + x.square())).sum() / light.sum() / 2).sqrt().clamp_min(1e-3)
    y, x = y / width, x / width
    orders = ((order - power, power) for order in range(1, count + 1) for power in range(order + 1))
    return [mode[0] * y**down * x**across for (down, across), _ in zip(orders, range(count), strict=False)]
