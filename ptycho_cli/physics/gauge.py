"""The gauge of probe and object: a factor and a common shift, which no frame determines, and how it is fixed."""

from __future__ import annotations

import torch
from torch import Tensor

from ptycho_cli.physics.probe import scale_probe
from ptycho_cli.physics.propagation import intensity

MAX_DRIFT = 1 / 16  # of the frame's side


def centre_of_mass(probe: Tensor) -> Tensor:
    """Centre of mass of ``|P|^2`` of a probe ``(mode, y, x)``: (y, x) in pixels from index 0, ``(2,)``."""
    photons = intensity(probe)
    rows = torch.arange(photons.shape[0], device=photons.device, dtype=photons.dtype)
    columns = torch.arange(photons.shape[1], device=photons.device, dtype=photons.dtype)
    weighted = torch.stack([(photons.sum(1) * rows).sum(), (photons.sum(0) * columns).sum()])
    return weighted / photons.sum()


def drift(probe: Tensor, centre: Tensor) -> tuple[int, int]:
    """Return the move (y, x) in whole pixels that brings a drifted probe back.

    Args:
        probe: Complex ``(mode, y, x)``.
        centre: Centre of mass (y, x) that the probe should have, in pixels, ``(2,)``.

    Returns:
        The move; (0, 0) if the centre of mass is at most ``MAX_DRIFT`` of the frame's side away.
    """
    distance = centre - centre_of_mass(probe)
    if not float(distance.abs().max()) > MAX_DRIFT * probe.shape[-1]:  # also False if the probe is not finite
        return 0, 0
    y, x = (round(pixels) for pixels in distance.tolist())
    return y, x


def fix_gauge(obj: Tensor, probe: Tensor, photons: float, move: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Scale and move a probe, and change the object such that no frame changes.

    A frame depends on the product of probe and object alone, so a factor, and a shift of both, can drift from one to
    the other while the fit does not get worse. Moves are by whole pixels, and not for a small drift: the window of the
    frame cuts a moved probe at another place, so a move is not quite free.

    Args:
        obj: Object, complex ``(y, x)``.
        probe: Probe, complex ``(mode, y, x)``.
        photons: The ``sum |P|^2`` that the probe gets.
        move: The move (y, x) in pixels, given by ``drift``.

    Returns:
        Object and probe.
    """
    scaled = scale_probe(probe, photons)
    obj = obj * (probe.abs().amax() / scaled.abs().amax())
    return (obj, scaled) if move == (0, 0) else (obj.roll(move, (-2, -1)), scaled.roll(move, (-2, -1)))
