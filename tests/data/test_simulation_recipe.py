"""Simulated scans of a recipe, and the groups that are trained on."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as PillowImage
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn

from ptycho_cli.assembly.objective import SMALLEST_MISFIT, Objective
from ptycho_cli.data.recipe_files import grey_image
from ptycho_cli.data.simulated_groups import SHUFFLED, SimulatedGroups
from ptycho_cli.data.simulated_objects import OBJECT_KINDS
from ptycho_cli.data.simulated_probes import PROBE_KINDS
from ptycho_cli.data.simulation import PATTERNS, simulate
from ptycho_cli.data.simulation_recipe import Recipe, simulated_scan
from ptycho_cli.data.write import write_scan
from ptycho_cli.errors import PtychoError
from ptycho_cli.geometry import probe_diameter_px, split_positions
from ptycho_cli.physics.frame_source import FrameSource
from ptycho_cli.physics.object_error import SMALLEST_ERROR

SMALL = Recipe(frames=9, size=32, validation_scans=2)


def test_a_scan_depends_on_recipe_seed_and_number_alone() -> None:
    first, again = (simulated_scan(SMALL, 3, 5) for _ in range(2))
    others = simulated_scan(SMALL, 3, 6), simulated_scan(SMALL, 4, 5)

    assert np.array_equal(first.scan.counts, again.scan.counts)
    assert np.array_equal(first.expected, again.expected)
    assert all(not np.array_equal(first.scan.counts, other.scan.counts) for other in others)


@pytest.mark.parametrize("kind", OBJECT_KINDS)
def test_counts_scatter_about_what_is_expected_as_photons_do(kind: str) -> None:
    """The sum of (n - rate)^2 / rate over pixels of rates above 1 is their number, within 5 standard deviations."""
    recipe = Recipe(
        frames=16, size=32, photons=(1e5, 1e5), objects=(kind,), modes=(1, 3), background=(0.5, 1.0),
        position_error_px=(0, 0), gaps=1.0,
    )  # fmt: skip
    made = simulated_scan(recipe, 0, 0)

    bright = (made.expected > 1) & made.scan.mask
    rate, counts = made.expected[bright], np.asarray(made.scan.counts)[bright]
    spread = np.sqrt(len(rate) * 2 + np.sum(1 / rate))
    assert abs(np.sum((counts - rate) ** 2 / rate) - len(rate)) < 5 * spread
    assert not np.asarray(made.scan.counts)[:, ~made.scan.mask].any()


@pytest.mark.parametrize("kind", PROBE_KINDS)
@pytest.mark.parametrize("pattern", PATTERNS)
def test_scans_stay_within_the_ranges_and_on_the_canvas(kind: str, pattern: str) -> None:
    recipe = Recipe(frames=25, size=32, probes=(kind,), patterns=(pattern,), photons=(1e4, 1e5), modes=(2, 2))
    for number in range(4):
        scan = simulated_scan(recipe, 1, number).scan
        assert scan.probe is not None
        assert scan.probe.shape == (2, 32, 32)
        assert 1e4 <= np.sum(np.abs(scan.probe) ** 2) <= 1.001e5
        assert probe_diameter_px(scan.probe) < 32
        corners, _ = split_positions(scan.positions_px, 32)
        assert (corners.max(axis=0) - corners.min(axis=0) + 32 <= recipe.canvas()).all()


class TrueObject(nn.Module):
    """A network that returns the object that it was given."""

    def __init__(self, obj: Tensor) -> None:
        super().__init__()
        self.obj = nn.Parameter(torch.view_as_real(obj))

    def forward(self, source: FrameSource) -> Tensor:
        return torch.view_as_complex(self.obj)[None]


def test_the_true_object_leaves_no_loss_of_its_group() -> None:
    """Although the counts have noise, the target has none; each group is seen with its own probe, mask and beam."""
    recipe = SMALL.model_copy(update={"gaps": 1.0, "background": (0.1, 0.2), "modes": (2, 2)})
    groups = SimulatedGroups(recipe, n_groups=4, seed=2, dtype=torch.float64)
    scan = simulated_scan(recipe, 2, groups.n_validation + 3).scan  # group 3 of the first epoch
    batch = groups.training_group(0, 3)
    assert scan.truth is not None
    assert scan.truth_origin_px is not None
    corners, _ = split_positions(scan.positions_px, scan.n_pixels)
    first = (batch.corners[0, 0].numpy() - corners[0] + np.array(scan.truth_origin_px)).astype(int)
    low = np.maximum(first, 0)
    inside = torch.from_numpy(scan.truth)[low[0] - first[0] :, low[1] - first[1] :]
    obj = torch.ones(*groups.canvas, dtype=torch.complex128)
    window = obj[low[0] :, low[1] :][: inside.shape[0], : inside.shape[1]]
    window.copy_(inside[: window.shape[0], : window.shape[1]])

    def loss(of: Tensor) -> float:
        probe = torch.ones(1, 32, 32, dtype=torch.complex128)  # another than the group's
        objective = Objective(TrueObject(of), probe, torch.ones(1), canvas=groups.canvas, relative=True).double()
        return objective(batch).item()

    assert loss(obj) < np.log(1e-5)  # truth and probe are stored with 32 bits
    assert loss(obj * 1.02) > loss(obj) + 3
    assert loss(obj) >= np.log(SMALLEST_MISFIT)


def test_the_loss_on_objects_is_their_relative_error_in_the_light() -> None:
    """It knows the true object on the canvas, whatever its global phase and whatever is where no light falls."""
    groups = SimulatedGroups(SMALL, n_groups=4, seed=2, dtype=torch.float64, with_object=True)
    batch = groups.training_group(0, 3)
    plain = replace(groups, with_object=False).training_group(0, 3)
    torch.testing.assert_close(batch.counts, plain.counts, rtol=0, atol=0)
    scan = simulated_scan(SMALL, 2, groups.n_validation + 3).scan
    corners, _ = split_positions(scan.positions_px, 32)
    corner = np.array(scan.truth_origin_px) + batch.corners[0, 0].numpy() - corners[0]  # of the truth on the canvas
    y, x = 40 - corner.astype(int)  # a pixel in the middle of the canvas
    assert scan.truth is not None
    assert batch.true_object[0, 40, 40].item() == pytest.approx(scan.truth[y, x])

    def loss(of: Tensor) -> float:
        probe = torch.ones(1, 32, 32, dtype=torch.complex128)  # another than the group's
        return Objective(TrueObject(of), probe, torch.ones(1), canvas=groups.canvas).double()(batch).item()

    truth = batch.true_object[0]
    dark = truth.clone()
    dark[:2] = 5
    for same in (truth, truth * np.exp(0.3j), dark):
        assert loss(same) == pytest.approx(np.log(SMALLEST_ERROR))
    assert loss(truth * 1.02) - loss(truth * 1.01) == pytest.approx(np.log(4))
    assert np.log(1e-5) < loss(truth * 1.01) < np.log(1e-3)


@pytest.mark.parametrize("key", ["grain", "defocused"])
def test_objects_with_grain_or_out_of_focus_differ_in_fine_structure(key: str) -> None:
    """Both change fine structure; the scan is otherwise the same, and without them nothing of the stream changes."""
    recipe = SMALL.model_copy(update={"objects": ("discs",), "independent": 0.0})
    plain, changed = (simulated_scan(recipe.model_copy(update={key: share}), 0, 0).scan for share in (0.0, 1.0))
    assert plain.truth is not None
    assert changed.truth is not None

    difference = changed.truth - plain.truth
    slow = gaussian_filter(difference, 4)
    assert np.std(difference) > 0.005
    assert np.std(slow) < 0.5 * np.std(difference)


def test_scans_that_are_used_again_come_in_random_order_and_in_other_symmetries() -> None:
    """Each of a block is used as often as the recipe says, then others follow; no order depends on what came before."""
    recipe = SMALL.model_copy(update={"uses": 2, "photons": (1e3, 1e4)})
    groups, again = (SimulatedGroups(recipe, n_groups=SHUFFLED, seed=0) for _ in range(2))
    drawn = [groups.training_group(epoch, index) for epoch in range(3) for index in range(SHUFFLED)]

    scans = [round(float(batch.counts.sum())) for batch in drawn]
    block, following = scans[: 2 * SHUFFLED], scans[2 * SHUFFLED :]
    assert len(set(block)) == SHUFFLED
    assert all(block.count(scan) == 2 for scan in block)
    assert len(set(block[:SHUFFLED])) < SHUFFLED
    assert not set(block) & set(following)
    symmetries = {scan: set() for scan in block}
    for scan, batch in zip(block, drawn, strict=False):
        symmetries[scan].add(int(batch.symmetries))
    assert sum(len(found) == 2 for found in symmetries.values()) > SHUFFLED / 2
    late = again.training_group(1, 5)
    assert torch.equal(late.counts, drawn[SHUFFLED + 5].counts)
    assert torch.equal(late.symmetries, drawn[SHUFFLED + 5].symmetries)


def write_stripes(path: Path, size: int = 60) -> None:
    """Stripes of 8 px, black and white."""
    rows = np.arange(size) // 4 % 2 * 255
    PillowImage.fromarray(np.repeat(rows[:, None], size, 1).astype(np.uint8)).save(path)


def test_objects_are_random_parts_of_images(tmp_path: Path) -> None:
    """Stripes stay stripes, of one material, at the angle and the magnification of each scan."""
    write_stripes(tmp_path / "stripes.png")
    files = {"objects": ("images",), "image_files": (str(tmp_path),), "independent": 0.0}
    recipe = SMALL.model_copy(update=files)
    scans = [simulated_scan(recipe, 0, number).scan for number in (0, 1, 0)]

    assert np.array_equal(scans[0].truth, scans[2].truth)
    periods = []
    for scan in scans[:2]:
        phase = np.angle(scan.truth) - np.angle(scan.truth).mean()
        spectrum = np.abs(np.fft.fft2(phase * np.hanning(len(phase))[:, None] * np.hanning(phase.shape[1])))
        y, x = (np.fft.fftfreq(n) for n in phase.shape)
        peak = np.unravel_index(np.argmax(spectrum), spectrum.shape)
        periods.append(1 / np.hypot(y[peak[0]], x[peak[1]]))
        assert 8 / 2.5 < periods[-1] < 8 / 0.4
        assert np.corrcoef(np.log(np.abs(scan.truth)).ravel(), phase.ravel())[0, 1] ** 2 > 0.99
    assert abs(periods[0] - periods[1]) > 0.1


@pytest.mark.parametrize("mode", ["1", "P", "LA", "RGBA", "I;16", "F"])
def test_brightness_does_not_depend_on_how_an_image_is_stored(mode: str, tmp_path: Path) -> None:
    write_stripes(tmp_path / "grey.png")
    with PillowImage.open(tmp_path / "grey.png") as image:
        numbers = np.asarray(image)
        same = PillowImage.fromarray(257 * numbers.astype(np.uint16)) if mode == "I;16" else image.convert(mode)
    same.save(tmp_path / "same.tif")

    np.testing.assert_allclose(grey_image(str(tmp_path / "same.tif")), numbers / 255, atol=1e-6)


def test_probes_are_those_of_instruments(tmp_path: Path) -> None:
    measured = simulate(n_frames=4, n_pixels=32, seed=3)
    write_scan(tmp_path / "scan.h5", measured)
    recipe = SMALL.model_copy(update={"probes": ("measured",), "probe_files": (str(tmp_path / "scan.h5"),)})

    for number in range(2):
        probe = simulated_scan(recipe, 0, number).scan.probe
        assert probe is not None
        factor = np.vdot(measured.probe, probe) / np.vdot(measured.probe, measured.probe)
        np.testing.assert_allclose(probe, factor * measured.probe, rtol=1e-5, atol=1e-5 * np.abs(probe).max())


def test_a_file_of_a_recipe_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    write_stripes(tmp_path / "small.png", 16)
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "folder").mkdir()
    write_scan(tmp_path / "other.h5", simulate(n_frames=4, n_pixels=16))

    for name, words in [("small.png", "16"), ("text.png", "image"), ("folder", "no image"), ("none.png", "no such")]:
        recipe = Recipe(objects=("images",), image_files=(str(tmp_path / name),))
        with pytest.raises(PtychoError, match=f"{name}.*{words}"):
            recipe.check_files()
    with pytest.raises(PtychoError, match=r"other.h5: a probe of 16 px, but the recipe has frames of 64 px"):
        Recipe(probes=("measured",), probe_files=(str(tmp_path / "other.h5"),)).check_files()


def test_no_two_groups_of_a_training_are_equal_and_validation_stays() -> None:
    groups = SimulatedGroups(SMALL, n_groups=3, seed=0)

    counts = [groups.training_group(epoch, index).counts for epoch in range(2) for index in range(3)]
    counts += [groups.validation_group(index).counts for index in range(2)]

    assert len({tensor.sum().item() for tensor in counts}) == 8
    again = groups.validation_group(1)
    for field in fields(again):
        torch.testing.assert_close(getattr(again, field.name), getattr(groups.validation_group(1), field.name))


def test_every_key_of_a_recipe_is_documented() -> None:
    page = (Path(__file__).parents[2] / "docs" / "weights.md").read_text()

    assert [line.split("`")[1] for line in page.splitlines() if line.startswith("| `")] == list(Recipe.model_fields)
