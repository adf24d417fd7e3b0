"""Figures: blank pixels, the phase plane, scale bars, and files that are whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from ptycho_cli.errors import OutputError
from ptycho_cli.render.inline_svg import new_figure, page_style, svg_of
from ptycho_cli.render.plotting import PictureStyle, add_colour_bar, bar_length, flattened_phase
from ptycho_cli.render.position_shift_figure import arrow_factor
from ptycho_cli.render.reconstruction_figure import complex_as_colour, save_reconstruction_png
from ptycho_cli.render.training_curves import curves_of, stages_of
from ptycho_cli.render.uncertainty_figure import FrameMap, Rings, save_uncertainty_png

SHAPE = (60, 80)


def covered() -> np.ndarray:
    coverage = np.zeros(SHAPE, np.float32)
    coverage[10:-10, 15:-15] = 7.0
    return coverage


def picture(path: Path, obj: np.ndarray, **changes: object) -> np.ndarray:
    probe = np.ones((2, 16, 16), np.complex64) * np.array([1, 0.2])[:, None, None]
    save_reconstruction_png(path, obj, probe, covered(), **changes)  # type: ignore[arg-type]
    return imread(path)


def test_the_plane_is_removed_and_a_phase_about_pi_does_not_wrap() -> None:
    """Steps of 1 rad around pi on a plane of 40 rad."""
    y, x = np.indices(SHAPE)
    step = 1.0 * (((y // 10) + (x // 10)) % 2)
    field = 0.7 * np.exp(1j * (step + np.pi - 0.3 + 0.5 * x - 0.1 * y))
    phase = flattened_phase(field, covered() > 0)[covered() > 0]

    assert np.ptp(phase) == pytest.approx(1.0, abs=0.35)
    assert abs(phase.mean()) < 0.1


def test_uncovered_pixels_do_not_set_the_limits_or_the_plane(tmp_path: Path) -> None:
    """Values outside the covered area, even infinite ones or NaN, change no pixel of the figure."""
    rng = np.random.default_rng(0)
    obj = np.exp(0.3j * rng.standard_normal(SHAPE)).astype(np.complex64)
    spoilt = obj.copy()
    spoilt[:10] = 1e6j
    spoilt[:, -15:] = np.nan

    np.testing.assert_array_equal(picture(tmp_path / "a.png", obj), picture(tmp_path / "b.png", spoilt))


def test_every_mode_of_a_probe_is_drawn_with_its_share_of_the_intensity(tmp_path: Path) -> None:
    """One more mode changes the figure, and so does another phase of a weaker mode."""
    obj = np.ones(SHAPE, np.complex64)
    modes = np.ones((3, 16, 16), np.complex64) * np.array([1, 0.5, 0.2])[:, None, None]
    turned = modes * np.array([1, 1, 1j])[:, None, None]
    drawn = []
    for name, probe in (("two", modes[:2]), ("three", modes), ("turned", turned)):
        save_reconstruction_png(tmp_path / f"{name}.png", obj, probe, covered())
        drawn.append(imread(tmp_path / f"{name}.png"))

    assert not np.array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[1], drawn[2])


def test_the_uncovered_area_is_blank_inside_the_panel(tmp_path: Path) -> None:
    blank = np.array([0xDB, 0xE4, 0xEE]) / 255
    image = picture(tmp_path / "a.png", np.ones(SHAPE, np.complex64))[..., :3]

    share = np.all(np.abs(image - blank) < 2 / 255, axis=-1).mean()
    assert 0.01 < share < 0.2  # the margin around the covered rectangle, and no more


@pytest.mark.parametrize(
    ("width", "pixel_m", "expected"),
    [
        (200, 1e-8, (20.0, "200 nm")),
        (300, 8e-9, (25.0, "200 nm")),
        (130, 5e-8, (20.0, "1 µm")),
        (512, 4e-11, (50.0, "2 nm")),
        (10, 4e-11, (1.25, "50 pm")),
        (240, None, (20.0, "20 px")),
        (16, None, (2.0, "2 px")),
    ],
)
def test_a_scale_bar_is_a_round_length_of_about_a_fifth(
    width: int, pixel_m: float | None, expected: tuple[float, str]
) -> None:
    length, label = bar_length(width, pixel_m)

    assert (pytest.approx(length), label) == expected
    assert width / 13 < length <= width / 5


def test_hue_is_phase_and_brightness_is_amplitude() -> None:
    colours = complex_as_colour(np.array([[1.0, np.exp(2j * np.pi / 3), 0.5, 0.0]]))[0]

    assert int(colours[0].argmax()) == 0  # phase 0 is red
    assert int(colours[1].argmax()) == 1  # a third of a turn is green
    np.testing.assert_allclose(colours[2], 0.5 * colours[0], rtol=0.01)
    np.testing.assert_array_equal(colours[3], 0)


def test_an_object_without_coverage_and_a_flat_object_are_drawn(tmp_path: Path) -> None:
    obj, probe = np.ones(SHAPE, np.complex64), np.zeros((1, 16, 16), np.complex64)
    for coverage in (np.zeros(SHAPE), np.ones(SHAPE)):
        save_reconstruction_png(tmp_path / "a.png", obj, probe, coverage, 1e-8, "nothing to see")

        assert imread(tmp_path / "a.png").shape[0] > 500


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")

    with pytest.raises(OutputError, match="cannot be written"):
        picture(tmp_path / "file" / "a.png", np.ones(SHAPE, np.complex64))
    picture(tmp_path / "new" / "a.png", np.ones(SHAPE, np.complex64))
    assert [entry.name for entry in (tmp_path / "new").iterdir()] == ["a.png"]


def uncertainty_picture(path: Path, spread: np.ndarray, residual: np.ndarray) -> np.ndarray:
    radius = (np.arange(20) + 0.5) / 20
    rings = Rings(radius, 1 - radius, np.full(20, 0.3), {"0.5": 0.5, "1/7": 0.86, "half-bit": 0.7})
    places = np.stack(np.divmod(np.arange(len(residual)), 8), axis=1) * 5.0
    frames = FrameMap(places, residual, np.array([3, 9]))
    save_uncertainty_png(path, spread, spread / 2, rings, frames, title="errors")
    return imread(path)


def test_the_largest_standard_errors_do_not_hide_the_others(tmp_path: Path) -> None:
    """A rim with errors a thousand times larger changes less than 1 % of the figure."""
    rng = np.random.default_rng(1)
    spread = rng.uniform(0.5, 1.0, SHAPE)
    rim = spread.copy()
    rim[0, :20] = 1e3
    spread[0, :20] = 1.0  # both have these pixels at the end of the colours
    residual = rng.uniform(0.1, 0.2, 64)

    plain, worse = (uncertainty_picture(tmp_path / "a.png", image, residual) for image in (spread, rim))

    assert plain.shape == worse.shape
    assert np.mean(np.abs(plain - worse) > 0.1) < 0.01


def test_unknown_standard_errors_are_blank_and_a_bad_frame_is_visible(tmp_path: Path) -> None:
    spread = np.full(SHAPE, np.nan)
    spread[10:-10, 15:-15] = 0.01
    spread[25:35, 35:45] = np.nan
    residual = np.full(64, 0.1)
    blank = np.array([0xDB, 0xE4, 0xEE]) / 255
    one_bad = residual.copy()
    one_bad[20] = 0.9

    even, uneven = (uncertainty_picture(tmp_path / "b.png", spread, frames)[..., :3] for frames in (residual, one_bad))

    assert 0.01 < np.all(np.abs(even - blank) < 2 / 255, axis=-1).mean() < 0.2
    assert np.any(np.abs(even - uneven) > 0.3, axis=-1).sum() > 50


def test_frames_that_were_left_out_are_crosses_in_the_coverage(tmp_path: Path) -> None:
    """Those inside the picture; a frame far away is only counted in the title."""
    obj = np.ones(SHAPE, np.complex64)
    plain = picture(tmp_path / "plain.png", obj)
    marked = picture(tmp_path / "marked.png", obj, left_out_px=np.array([[30.0, 30.0], [900.0, -40.0]]))

    def red(image: np.ndarray) -> int:
        return int(((image[..., 0] > 0.8) & (image[..., 1:3] < 0.2).all(axis=-1)).sum())

    assert plain.shape == marked.shape
    assert 10 < red(marked) - red(plain) < 200  # the probe's panel has red pixels of its own


@pytest.mark.parametrize(("format", "start"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_the_suffix_chooses_the_format(tmp_path: Path, format: str, start: bytes) -> None:
    path, probe = PictureStyle(format=format).path(tmp_path / "a.h5"), np.ones((1, 8, 8), np.complex64)
    save_reconstruction_png(path, np.ones(SHAPE, np.complex64), probe, covered(), title="$x_{$")

    assert path.read_bytes().startswith(start)


def test_resolution_and_colour_maps_are_those_of_the_style(tmp_path: Path) -> None:
    """Twice the resolution has twice the pixels; another map of phases colours a grey figure."""
    rng = np.random.default_rng(0)
    obj = np.exp(0.3j * rng.standard_normal(SHAPE)).astype(np.complex64)
    plain = picture(tmp_path / "a.png", obj, style=PictureStyle(dpi=40))
    fine = picture(tmp_path / "b.png", obj, style=PictureStyle(dpi=80))
    coloured = picture(tmp_path / "c.png", obj, style=PictureStyle(dpi=40, phase_map="twilight"))

    np.testing.assert_allclose(fine.shape[:2], 2 * np.array(plain.shape[:2]), atol=1)
    half = plain.shape[1] // 2
    phase = (slice(0, plain.shape[0] // 2), slice(half, half + half // 2))
    grey, colour = (np.ptp(image[phase][..., :3], axis=-1).mean() for image in (plain, coloured))
    assert colour > grey + 0.1


def test_limits_that_cut_values_off_are_shown_on_the_colour_bar() -> None:
    with page_style("a"):
        figure = new_figure(3, 3)
        axes = figure.subplots()
        image = np.linspace(0, 1, 100).reshape(10, 10)
        drawn = axes.imshow(image, vmin=0, vmax=0.9)
        add_colour_bar(drawn, axes, image, "amplitude")
        svg = svg_of(figure, "a")

    assert "amplitude (10.0% beyond the limits)" in svg
    assert drawn.colorbar.extend == "max"


@pytest.mark.parametrize(("shift_px", "longest"), [(0.01, 8.0), (1.0, 8.0), (50.0, 50.0)])
def test_arrows_of_shifts_are_enlarged_until_they_can_be_seen(shift_px: float, longest: float) -> None:
    """By a round factor, to at most a twelfth of a scan of 100 px; large shifts stay to scale."""
    positions = np.stack(np.meshgrid(np.linspace(0, 100, 5), np.linspace(0, 100, 5)), -1).reshape(-1, 2)
    factor = arrow_factor(positions, np.full(25, shift_px))

    assert longest / 2 < factor * shift_px <= longest + 1e-9
    assert factor == float(f"{factor:.1g}")


def test_the_stages_of_a_schedule_are_marked() -> None:
    rows = [{"step": str(k), "loss_weight": str(w)} for k, w in enumerate((0, 0, 0.5, 1, 1), start=1)]
    curves = curves_of(rows)

    names = ("amplitude loss", "transition", "Poisson likelihood")
    assert stages_of(curves.loss_weight) == list(zip(names, (0, 2, 3), (1, 2, 4), strict=True))
    assert stages_of(curves_of([{"step": "1"}]).loss_weight) == []
