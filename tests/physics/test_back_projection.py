"""Laws of the physics step and of the expected photons: values and gradients in closed form."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import Tensor

from ptycho_cli.physics.back_projection import back_project, batch_rate
from ptycho_cli.physics.forward import back_to_object, detector_intensity, exit_waves
from ptycho_cli.physics.frame_tensors import FrameBatch
from ptycho_cli.physics.object_update import modulus_change

SHAPE = (2, 7, 8)


def noise(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.complex128, generator=torch.Generator().manual_seed(seed))


def frames(modes: int, *, masked: bool = False, padded: bool = False) -> FrameBatch:
    """Three frames of 4 px on each of two canvases, with a background."""
    rng = torch.Generator().manual_seed(0)
    return FrameBatch(
        3 * torch.rand(2, 3, 4, 4, dtype=torch.float64, generator=rng),
        torch.tensor([[[0, 0], [3, 4], [1, 2]], [[1, 2], [1, 2], [3, 0]]]),
        noise(2, 3, modes, 4, 4, seed=1),
        valid=(torch.rand(4, 4, dtype=torch.float64, generator=rng) > 0.2).double() if masked else None,
        present=torch.tensor([[1.0, 1.0, 1.0], [1.0, 1.0, 0.0]]).double() if padded else None,
        background=torch.full((2, 1, 1, 1), 0.3, dtype=torch.float64),
    )


CASES = [frames(1), frames(3), frames(2, masked=True), frames(1, padded=True), frames(2, masked=True, padded=True)]


@pytest.mark.parametrize("data", CASES)
def test_gradients_in_object_and_probe_are_right(data: FrameBatch) -> None:
    obj, probes = noise(*SHAPE, seed=2).requires_grad_(), data.probes.clone().requires_grad_()

    for function in (back_project, partial(back_project, keep_waves=False), batch_rate):
        assert torch.autograd.gradcheck(lambda o, p, f=function: f(o, replace(data, probes=p)), (obj, probes))


@pytest.mark.parametrize("data", CASES)
def test_the_physics_step_is_that_of_the_change_of_modulus(data: FrameBatch) -> None:
    """Value and gradients equal those of the composed functions, which torch differentiates."""

    def composed(obj: Tensor, batch: FrameBatch) -> Tensor:
        waves = exit_waves(batch.patches(obj), batch.probes)
        return back_to_object(modulus_change(waves, batch.amplitude, batch.valid, batch.background), batch, obj.shape)

    def results(function) -> list[Tensor]:  # type: ignore[no-untyped-def]
        obj, probes = noise(*SHAPE, seed=2).requires_grad_(), data.probes.clone().requires_grad_()
        found = function(obj, replace(data, probes=probes))
        (found * noise(*SHAPE, seed=3)).real.sum().backward()
        assert obj.grad is not None
        assert probes.grad is not None
        return [found.detach(), obj.grad, probes.grad]

    torch.testing.assert_close(results(back_project), results(composed))


@pytest.mark.parametrize("data", CASES)
def test_the_rate_is_the_intensity_of_the_exit_waves(data: FrameBatch) -> None:
    obj = noise(*SHAPE, seed=2)

    expected = detector_intensity(exit_waves(data.patches(obj), data.probes)) + data.background

    torch.testing.assert_close(batch_rate(obj, data), expected)


def test_only_the_far_field_and_the_ratio_are_kept_for_the_gradient() -> None:
    """Beside the canvas and the probes, which exist anyway: one complex and one real number for each pixel."""
    data, kept = frames(1), []
    obj, probes = noise(*SHAPE, seed=2).requires_grad_(), data.probes.clone().requires_grad_()
    known = {obj.data_ptr(), probes.data_ptr()}

    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        back_project(obj, replace(data, probes=probes))

    new = [tensor for tensor in kept if tensor.data_ptr() not in known]
    assert sorted((tensor.is_complex(), tensor.numel()) for tensor in new) == [(False, 96), (True, 96)]
