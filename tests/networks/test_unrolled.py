"""The unrolled network, before and while it is trained."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from ptycho_cli.networks import blocks
from ptycho_cli.networks.blocks import CanvasBlock
from ptycho_cli.networks.unrolled import UnrolledNetwork
from ptycho_cli.physics import frame_parts
from ptycho_cli.physics.back_projection import back_project, batch_rate
from ptycho_cli.physics.forward import illumination
from ptycho_cli.physics.frame_source import FrameSource, GroupFrameSource
from ptycho_cli.physics.frame_tensors import FrameBatch
from ptycho_cli.physics.object_update import ObjectUpdate
from ptycho_cli.physics.probe import shift_waves


def frames(batch: int = 2, patches: int = 12, size: int = 16, canvas: int = 32) -> tuple[FrameBatch, torch.Tensor]:
    rng = torch.Generator().manual_seed(2)
    step = torch.arange(size, dtype=torch.float64) - size // 2
    probe = 50 * torch.exp(-(step[:, None] ** 2 + step**2) / 18 + 0.1j * step)[None]
    corners = torch.randint(0, canvas - size + 1, (batch, patches, 2), generator=rng)
    shifts = torch.rand(batch, patches, 2, dtype=torch.float64, generator=rng) - 0.5
    phase = torch.rand(batch, canvas, canvas, dtype=torch.float64, generator=rng)
    probes = shift_waves(probe, shifts)
    blank = FrameBatch(torch.zeros(batch, patches, size, size, dtype=torch.float64), corners, probes)
    return replace(blank, amplitude=batch_rate(torch.exp(1j * phase), blank).sqrt()), probe.abs().square().max().expand(
        batch, 1, 1
    )


def step(obj: Tensor, data: FrameBatch, peak: Tensor) -> Tensor:
    return back_project(obj, data) / (illumination(data, obj.shape) + 0.5 * peak)


def source() -> FrameSource:
    data, peak = frames()
    return GroupFrameSource(data, (32, 32), peak)


def network(**changes: float) -> UnrolledNetwork:
    torch.manual_seed(0)
    return UnrolledNetwork(**{"stages": 4, "subsets": 3, "width": 4, "update": ObjectUpdate(0.5), **changes}).double()  # type: ignore[arg-type]


def test_an_untrained_network_is_physics_only() -> None:
    data, peak = frames()
    expected = torch.ones(2, 32, 32, dtype=torch.complex128)
    for stage in range(4):
        expected = expected + step(expected, data.subset(slice(stage % 3, None, 3)), peak)

    torch.testing.assert_close(network()(source()), expected)
    torch.testing.assert_close(network()(source(), physics_only=True), expected)


def test_a_single_frame_is_used_in_every_stage() -> None:
    """With fewer frames than subsets, no stage has an empty subset, whose Fourier transform would fail."""
    data, peak = frames()
    alone = data.subset(slice(0, 1))
    expected = torch.ones(2, 32, 32, dtype=torch.complex128)
    for _ in range(4):
        expected = expected + step(expected, alone, peak)

    torch.testing.assert_close(network()(GroupFrameSource(alone, (32, 32), peak)), expected)


def test_physics_only_leaves_out_all_that_was_learned() -> None:
    net = network()
    before = net(source())
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.1)

    assert not torch.allclose(net(source()), before)
    torch.testing.assert_close(net(source(), physics_only=True), before)


def test_a_canvas_does_not_depend_on_its_neighbours_in_the_batch() -> None:
    data, peak = frames()
    net = network()
    torch.nn.init.normal_(net.blocks[0].layers[-1].weight, std=0.1)  # type: ignore[index, union-attr, arg-type]

    together = net(source())

    first = FrameBatch(data.amplitude[:1], data.corners[:1], data.probes[:1])
    torch.testing.assert_close(net(GroupFrameSource(first, (32, 32), peak[:1]))[0], together[0])


def test_every_parameter_can_learn_from_the_first_step_or_the_second() -> None:
    data, _ = frames()
    net = network()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    for _ in range(2):
        optimizer.zero_grad()
        (batch_rate(net(source()), data).sqrt() - data.amplitude).square().mean().backward()
        optimizer.step()

    idle = [name for name, p in net.named_parameters() if p.grad is None or not bool(p.grad.abs().max() > 0)]
    assert idle == []
    assert all(math.isfinite(float(p.grad.abs().max())) for p in net.parameters() if p.grad is not None)


@pytest.mark.parametrize("fold", [1, 2])
def test_strips_of_a_large_canvas_join_without_a_seam(monkeypatch: pytest.MonkeyPatch, fold: int) -> None:
    net = network(fold=fold)
    for block in net.blocks:
        torch.nn.init.normal_(block.layers[-1].weight, std=0.1)  # type: ignore[index, union-attr, arg-type]
    whole = net(source())

    monkeypatch.setattr(blocks, "STRIP_PIXELS_CPU", 10 * source().shape[-1])
    with torch.inference_mode():
        strips = net(source())

    torch.testing.assert_close(strips, whole.detach())


def test_folding_keeps_the_place_of_every_pixel() -> None:
    """A block whose weights pass pixels on returns its input, on canvases of odd size too."""
    block = CanvasBlock(1, 8, 1, fold=2).double()
    for layer in (block.layers[0], block.layers[2], block.layers[4]):
        assert isinstance(layer, torch.nn.Conv2d)
        torch.nn.init.dirac_(layer.weight)
        torch.nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    canvas = 50 + torch.rand(2, 1, 7, 9, dtype=torch.float64)  # where SiLU is the identity

    torch.testing.assert_close(block(canvas), canvas)


def test_a_reconstruction_makes_no_checkpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first one imports torch's compiler, for longer than a small scan takes."""
    monkeypatch.setattr(blocks, "KEPT_PIXELS", 0)
    monkeypatch.setattr(frame_parts, "checkpoint", None)

    with torch.inference_mode():
        assert CanvasBlock(5, 4, 2)(torch.zeros(1, 5, 8, 8)).shape == (1, 2, 8, 8)
