"""The regularised update: its closed form, and a prior that takes effect in every engine and network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from ptycho_cli.extend.network_conformance import N_PIXELS, small_probe, small_scans, small_source
from ptycho_cli.extend.specs import NetworkContext, NetworkEntry
from ptycho_cli.networks.entries import AUTOENCODER, REFINER, UNROLLED
from ptycho_cli.physics.object_update import ObjectUpdate
from ptycho_cli.physics.pie import run_pie
from ptycho_cli.physics.polish import polish_object
from ptycho_cli.physics.relaxation import Relaxation


@dataclass(frozen=True)
class Opaque:
    """``R = weight |O|^2``: the object is likely to be opaque."""

    weight: float

    def gradient(self, obj: Tensor) -> Tensor:
        return self.weight * obj


def test_the_update_is_the_change_over_illumination_and_alpha_of_the_peak() -> None:
    rng = torch.Generator().manual_seed(0)
    obj, change = torch.randn(2, 3, 4, 5, dtype=torch.complex128, generator=rng)
    illumination, peak = torch.rand(3, 4, 5, dtype=torch.float64, generator=rng), torch.tensor(2.0)
    update = ObjectUpdate(0.5)

    torch.testing.assert_close(update(obj, change, illumination, peak), change / (illumination + 1.0))
    learned = update(obj, change, illumination, peak, alpha=torch.tensor(3.0))
    torch.testing.assert_close(learned, change / (illumination + 6.0))
    assert update.scaled(4.0) == update.with_alpha(2.0) == ObjectUpdate(2.0)


def test_a_prior_subtracts_its_gradient_in_units_of_the_peak() -> None:
    obj, nothing = torch.full((1, 2, 2), 3.0 + 1j), torch.zeros(1, 2, 2)
    prior = Opaque(0.25)

    step = ObjectUpdate(0.5, (prior, prior))(obj, nothing, nothing, torch.tensor(8.0))

    torch.testing.assert_close(step, -2 * prior.gradient(obj) / 0.5)


def by_pie(update: ObjectUpdate) -> Tensor:
    (frames,) = small_scans(1)
    return run_pie(frames, frames.vacuum(), small_probe(), update=update, iterations=4)[0]


def by_polish(update: ObjectUpdate) -> Tensor:
    (frames,) = small_scans(1)
    return polish_object(frames, frames.vacuum(), small_probe(), update=update, iterations=4)


def by_relaxation(update: ObjectUpdate) -> Tensor:
    return Relaxation(stages=8, update=update)(small_source(1))[0]


def by_network(entry: NetworkEntry, *, physics_only: bool) -> Callable[[ObjectUpdate], Tensor]:
    def reconstruct(update: ObjectUpdate) -> Tensor:
        torch.manual_seed(0)
        network = entry.build(NetworkContext(N_PIXELS, update), entry.options()).double()
        with torch.inference_mode():
            return network(small_source(1), physics_only=physics_only)  # type: ignore[no-any-return]

    return reconstruct


ENGINES: dict[str, Callable[[ObjectUpdate], Tensor]] = {
    "PIE": by_pie,
    "polish": by_polish,
    "relaxation": by_relaxation,
    **{
        f"{entry.name}{', physics only' * physics_only}": by_network(entry, physics_only=physics_only)
        for entry in (UNROLLED, REFINER, AUTOENCODER)
        for physics_only in (False, True)
    },
}


@pytest.mark.parametrize("name", ENGINES)
def test_every_engine_and_network_applies_the_priors_of_its_update(name: str) -> None:
    """The stronger the prior for an opaque object, the lower is the mean modulus."""
    means = [float(ENGINES[name](ObjectUpdate(1.0, (Opaque(weight),))).abs().mean()) for weight in (0.0, 0.1, 0.4)]

    assert means[0] > 1.01 * means[1] > 1.01**2 * means[2]
