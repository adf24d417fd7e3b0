"""What probe and object can hand to each other without a change of any frame, and how it is kept from drifting."""

from __future__ import annotations

import torch
from torch import Tensor

from ptycho_cli.physics.probe import scale_probe
from ptycho_cli.physics.propagation import intensity

LEEWAY = 1 / 16  # of the frame's side


def centre_of_mass(probe: Tensor) -> Tensor:
    """Where the light of a probe ``(mode, y, x)`` lies: (y, x) in pixels from index 0."""
    light = intensity(probe)
    rows = torch.arange(light.shape[0], device=light.device, dtype=light.dtype)
    columns = torch.arange(light.shape[1], device=light.device, dtype=light.dtype)
    weighted = torch.stack([(light.sum(1) * rows).sum(), (light.sum(0) * columns).sum()])
    return weighted / light.sum()


def fix_gauge(obj: Tensor, probe: Tensor, photons: float, move: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Bring a probe back to its photons and near its place, and the object with it.

    A frame depends on the product of probe and object alone, so a factor, or a shift of both, may drift from one to
    the other while the fit gets no worse. What the probe is given here is taken from the object, so rates stay as
    they are. Moves are by whole pixels, and only where the probe is more than ``LEEWAY`` of its frame astray: a
    window cuts a moved probe elsewhere, so a small move is not quite free, and is left to the data.

    Args:
        obj: Object, complex ``(y, x)``.
        probe: Probe, complex ``(mode, y, x)``.
        photons: ``sum |P|^2`` to have.
        move: By how many pixels (y, x), as given by ``drift``.

    Returns:
        Object and probe.
    """
    held = scale_probe(probe, photons)
    obj = obj * (probe.abs().amax() / held.abs().amax())
    return (obj, held) if move == (0, 0) else (obj.roll(move, (-2, -1)), held.roll(move, (-2, -1)))


def drift(probe: Tensor, centre: Tensor) -> tuple[int, int]:
    """By how many pixels (y, x) a probe is to be moved to have its centre of mass there; none within the leeway."""
    away = centre - centre_of_mass(probe)
    if not float(away.abs().max()) > LEEWAY * probe.shape[-1]:  # a probe that is not finite has no place
        return 0, 0
    y, x = (round(pixels) for pixels in away.tolist())
    return y, x
