"""The refiner and its U-Net, before and while they are trained."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from ptycho_cli.extend.network_conformance import small_source
from ptycho_cli.networks import blocks
from ptycho_cli.networks.blocks import CanvasUNet, apply_symmetry, in_strips, undo_symmetry
from ptycho_cli.networks.refiner import Refiner
from ptycho_cli.physics.frame_source import GroupFrameSource
from ptycho_cli.physics.relaxation import Relaxation

RELAXATION = Relaxation(stages=6)


def made(*, trained: bool) -> Refiner:
    torch.manual_seed(0)
    network = Refiner(relaxation=RELAXATION, width=4, levels=2).double()
    if trained:
        torch.nn.init.normal_(network.unets[-1].last.weight, std=0.1)
    return network


@pytest.mark.parametrize("physics_only", [True, False])
def test_an_untrained_refiner_is_the_relaxation(physics_only: bool) -> None:
    source = small_source()

    torch.testing.assert_close(
        made(trained=False)(source, physics_only=physics_only), RELAXATION(source)[0], rtol=0, atol=0
    )


def test_initial_objects_replace_the_relaxation_but_not_the_baseline() -> None:
    source = small_source()
    obj, photons = Relaxation(stages=2)(source)
    initial = obj[:, None], photons
    initialised = GroupFrameSource(source.frames(slice(None)), source.shape[1:], source.peak, initial=initial)

    torch.testing.assert_close(made(trained=False)(initialised), obj, rtol=0, atol=0)
    baseline = made(trained=True)(initialised, physics_only=True)
    torch.testing.assert_close(baseline, RELAXATION(source)[0], rtol=0, atol=0)


def test_a_pass_starts_where_the_one_before_ended_and_only_the_last_is_trained() -> None:
    source = small_source()
    torch.manual_seed(0)
    network = Refiner(relaxation=RELAXATION, width=4, levels=2, passes=2, pass_stages=3).double()
    first = made(trained=True)
    network.unets[0].load_state_dict(first.unets[-1].state_dict())
    told: list[tuple[int, int]] = []

    objects, photons = network.start(source, progress=lambda done, total: told.append((done, total)))

    corrected, counted = first(source), RELAXATION(source)[1]
    expected, _ = replace(RELAXATION, stages=3)(source, start=corrected)
    torch.testing.assert_close(objects, torch.stack((expected, corrected), 1), rtol=0, atol=0)
    torch.testing.assert_close(photons, counted, rtol=0, atol=0)
    torch.testing.assert_close(network(source), expected, rtol=0, atol=0)  # its last U-Net still returns 0
    assert {name.split(".")[1] for name, weights in network.named_parameters() if weights.requires_grad} == {"1"}
    assert told == [*((step, 9) for step in range(1, 7)), (9, 9)]


def test_the_second_unet_sees_where_its_pass_began() -> None:
    """The object that is corrected is the same; another estimate beside it changes the correction."""
    source = small_source(1)
    torch.manual_seed(0)
    network = Refiner(relaxation=RELAXATION, width=4, levels=2, passes=2, pass_stages=3).double().eval()
    torch.nn.init.normal_(network.unets[-1].last.weight, std=0.1)
    obj, photons = RELAXATION(source)

    def found(other: Tensor) -> Tensor:
        initial = torch.stack((obj, other), 1), photons
        return network(GroupFrameSource(source.frames(slice(None)), source.shape[1:], source.peak, initial=initial))

    assert float((found(source.vacuum()) - found(obj)).abs().max().detach()) > 1e-3


def test_the_unet_sees_how_many_photons_there_are() -> None:
    """The same object and relative coverage from a hundred times the photons has less noise to remove."""
    source, network = small_source(1), made(trained=True).eval()
    obj, photons = RELAXATION(source)

    def correction(factor: float) -> Tensor:
        initial = obj[:, None], factor * photons
        frames, shape = source.frames(slice(None)), source.shape[1:]
        return network(GroupFrameSource(frames, shape, factor * source.peak, initial=initial)) - obj

    assert float((correction(100.0) - correction(1.0)).abs().max().detach()) > 1e-3


def test_reconstruction_is_the_mean_over_the_symmetries_and_turns_with_its_initial_object() -> None:
    """Averaged over all symmetries of the square, the correction does not depend on how the canvas lies."""
    source, network = small_source(1), made(trained=True).eval()
    obj, photons = RELAXATION(source)
    frames, shape = source.frames(slice(None)), source.shape[1:]

    def seen(symmetry: int | None, initial: tuple[Tensor, Tensor]) -> Tensor:
        numbers = None if symmetry is None else torch.tensor([symmetry])
        return network(GroupFrameSource(frames, shape, source.peak, initial=initial, symmetries=numbers))

    whole = seen(None, (obj[:, None], photons))

    views = torch.stack([seen(k, (obj[:, None], photons)) for k in range(8)])
    assert float((views[0] - views[5]).abs().max().detach()) > 1e-3
    torch.testing.assert_close(views.mean(0), whole)
    for k in range(8):
        turned = seen(None, (apply_symmetry(obj[:, None], k), apply_symmetry(photons, k)))
        torch.testing.assert_close(undo_symmetry(turned, k), whole)


def test_training_sees_only_the_window_of_each_group() -> None:
    """The object depends neither on the part of the canvas without frames, nor on the other canvases."""
    source, network = small_source(2), made(trained=True)
    obj, photons = RELAXATION(source)
    frames, shape = source.frames(slice(None)), source.shape[1:]
    symmetries = torch.tensor([3, 6])
    windows = source.windows()

    together = network(
        GroupFrameSource(frames, shape, source.peak, initial=(obj[:, None], photons), symmetries=symmetries)
    )

    for i, (rows, columns) in enumerate(windows):
        window = (slice(i, i + 1), rows, columns)
        inside = small_source(2)
        inside.initial = obj[window][:, None], photons[window]
        inside.symmetries = symmetries[i : i + 1]
        inside.peak, inside.shape = source.peak[i : i + 1], tuple(obj[window].shape)
        inside.corners = source.corners[i : i + 1] - torch.tensor([rows.start, columns.start])
        torch.testing.assert_close(together[window], network(inside))
        outside = torch.ones(shape, dtype=torch.bool)
        outside[rows, columns] = False
        assert torch.equal(together[i][outside], obj[i][outside])
        assert bool(outside.any())


def test_the_eight_symmetries_differ_and_each_is_undone() -> None:
    canvas = torch.arange(12.0).reshape(3, 4)

    for k in range(8):
        assert torch.equal(undo_symmetry(apply_symmetry(canvas, k), k), canvas)
    square = torch.arange(9.0).reshape(3, 3)
    assert len({tuple(apply_symmetry(square, k).flatten().tolist()) for k in range(8)}) == 8


@pytest.mark.parametrize("levels", [1, 2, 3, 4])
def test_strips_of_a_unet_join_without_a_seam(levels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its reach is large enough, and strips begin on its coarsest grid."""
    monkeypatch.setattr(blocks, "STRIP_PIXELS_CPU", 128 * 18)
    torch.manual_seed(0)
    unet = CanvasUNet(3, 4, 2, levels).double()
    torch.nn.init.normal_(unet.last.weight)
    channels = torch.randn(1, 3, 301, 18, dtype=torch.float64)

    with torch.no_grad():
        torch.testing.assert_close(in_strips(unet, channels, unet.reach), unet(channels), rtol=1e-10, atol=1e-10)


def test_the_signal_keeps_its_size_on_the_way_through_the_unet() -> None:
    """With torch's default weights it fades by two orders of magnitude, and learning starts as slowly."""
    torch.manual_seed(0)
    unet = CanvasUNet(3, 16, 2, 3)
    features: list[Tensor] = []
    unet.last.register_forward_pre_hook(lambda module, inputs: features.append(inputs[0]))

    unet(torch.randn(1, 3, 64, 64))

    assert 0.2 < float(features[0].std().detach()) < 2
