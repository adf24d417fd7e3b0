"""The autoencoder: merging of patches, neighbours and their registration, and frames without neighbours."""

import pytest
import torch

from ptycho_cli.errors import ConfigError
from ptycho_cli.extend.network_conformance import CANVAS, N_FRAMES, N_PIXELS, small_scans, small_source
from ptycho_cli.extend.specs import NetworkContext
from ptycho_cli.networks import autoencoder
from ptycho_cli.networks.autoencoder import VACUUM_WEIGHT, Autoencoder, _registered, neighbours
from ptycho_cli.networks.entries import AUTOENCODER
from ptycho_cli.physics.frame_source import GroupFrameSource
from ptycho_cli.physics.object_update import ObjectUpdate


def network(**options: object) -> Autoencoder:
    torch.manual_seed(0)
    made = AUTOENCODER.build(
        NetworkContext(N_PIXELS, ObjectUpdate(0.1)), AUTOENCODER.options.model_validate(options)
    ).double()
    assert isinstance(made, Autoencoder)
    return made


def test_patches_of_one_object_merge_to_that_object(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that knew every patch would return the object, wherever it is illuminated."""
    source, truth = small_source(), torch.exp(1j * torch.linspace(0, 2, 1440, dtype=torch.float64)).reshape(CANVAS)
    obj = truth.expand(2, *CANVAS).contiguous()
    perfect = network()
    monkeypatch.setattr(perfect, "_patches", lambda source, frames, *_, **__: frames.patches(obj))

    merged = perfect(source)

    illuminated = source.back_project(obj)[1] > 0.5 * source.peak
    torch.testing.assert_close(merged[illuminated], obj[illuminated], rtol=0, atol=5e-3)
    torch.testing.assert_close(merged[:, 0, 0], torch.ones(2, dtype=torch.complex128))  # outside all frames


def test_neighbours_are_the_nearest_other_frames() -> None:
    source = small_source()
    places = source.corners.double()

    found = neighbours(source, 4)

    for canvas in range(2):
        for frame in range(N_FRAMES):
            distance = (places[canvas] - places[canvas, frame]).norm(dim=-1)
            distance[frame] = torch.inf
            near = found[canvas, frame]
            assert frame not in near
            assert near.unique().numel() == 3
            torch.testing.assert_close(distance[near], distance.sort().values[:3])


def test_padding_is_no_neighbour_and_a_single_frame_is_its_own() -> None:
    source = small_source(1)
    source.present = torch.zeros(1, N_FRAMES)
    source.present[0, :3] = 1

    assert set(neighbours(source, 3)[0, :3].flatten().tolist()) <= {0, 1, 2}
    assert sorted(neighbours(source, 3)[0, 1].tolist()) == [0, 2]
    (scan,) = small_scans(1)
    alone = small_source(1).frames(slice(0, 1))
    single = GroupFrameSource(alone, scan.shape, source.peak)
    assert neighbours(single, 3).tolist() == [[[0, 0]]]


def test_the_view_of_a_neighbour_is_registered_to_the_frame() -> None:
    """Both frames are windows on one canvas: the view equals the canvas where they overlap, and is 0 elsewhere."""
    source = small_source()
    canvas = torch.rand(2, *CANVAS, dtype=torch.float64) + 1
    others, frames = source.frames(slice(0, 6)), source.frames(slice(6, 12))
    view = others.patches(canvas)[:, :, None]

    moved = _registered(view, others, frames)[:, :, 0]

    expected = frames.patches(canvas)
    seen = moved != 0
    torch.testing.assert_close(moved[seen], expected[seen])
    shared = sum(
        (N_PIXELS - int((a - b)[0].abs())) * (N_PIXELS - int((a - b)[1].abs()))
        for a, b in zip(source.corners[:, :6].flatten(0, 1), source.corners[:, 6:].flatten(0, 1), strict=True)
        if bool(((a - b).abs() < N_PIXELS).all())
    )
    assert int(seen.sum()) == shared > 0


def test_an_untrained_autoencoder_merges_the_updates_of_single_frames() -> None:
    source = small_source()

    torch.testing.assert_close(network()(source), network()(source, physics_only=True))
    torch.testing.assert_close(network(input="amplitude")(source), source.vacuum())
    alone = GroupFrameSource(source.frames(slice(0, 1)), CANVAS, source.peak)
    change, light = alone.back_project(alone.vacuum())
    step = change / (light + 0.1 * source.peak)
    merged = network()(alone).detach()
    torch.testing.assert_close(merged, 1 + step * light / (light + VACUUM_WEIGHT * source.peak))
    assert float(step.abs().max()) > 0.1


def test_the_cnn_takes_large_frames_in_parts_with_the_same_result(monkeypatch: pytest.MonkeyPatch) -> None:
    made = network(width=2, depth=2)
    torch.nn.init.normal_(made.coder.last.weight, std=0.1)
    whole = made(small_source()).detach()

    monkeypatch.setattr(autoencoder, "PIXELS_AT_ONCE", 3 * N_PIXELS**2)
    with torch.inference_mode():
        in_parts = made(small_source())

    torch.testing.assert_close(in_parts, whole)


def test_frames_that_cannot_be_halved_so_often_are_refused() -> None:
    with pytest.raises(ConfigError, match="frames of 24 px can be halved 3 times") as caught:
        AUTOENCODER.build(NetworkContext(24, ObjectUpdate(0.1)), AUTOENCODER.options.model_validate({"depth": 4}))
    assert caught.value.hint == "Use a depth of at most 3, or crop the frames to a multiple of 16 px."
