"""Units that are impossible are replaced by the only possible one; frames far from all others are left out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ptycho_cli.data.simulation import simulate
from ptycho_cli.errors import DataError

WAVELENGTH_M, DETECTOR_PIXEL_M, PIXEL_M = 1e-10, 75e-6, 1e-8
ENERGY_EV = 1.23984198433e-6 / WAVELENGTH_M


@pytest.fixture
def in_metres(good: Any, read: Any) -> Any:
    """Read the scan with positions in metres and the numbers from which the pixel follows, some of them changed."""
    distance_m = PIXEL_M * good.n_pixels * DETECTOR_PIXEL_M / WAVELENGTH_M

    def changed(factor: float = 1.0, options: Any = None, **factors: float) -> Any:
        stored = {"energy_ev": ENERGY_EV, "distance_m": distance_m, "detector_pixel_m": DETECTOR_PIXEL_M}
        stored = {name: value * factors.get(name, 1.0) for name, value in stored.items()} | {"position_unit": None}
        scan = read(good, positions=good.positions_px * PIXEL_M * factor, contents=stored, **(options or {}))
        np.testing.assert_allclose(scan.positions_px, good.positions_px, rtol=1e-6)
        assert scan.object_pixel_m == pytest.approx(PIXEL_M)
        return scan

    return changed


def test_metres_need_no_word(in_metres: Any, ids: Any) -> None:
    assert ids(in_metres()) == []


@pytest.mark.parametrize(
    ("changes", "id", "setting"),
    [
        ({"factor": 1e6}, "positions-unit", "data.position_unit=um"),
        ({"factor": 1e9}, "positions-unit", "data.position_unit=nm"),
        ({"factor": 1e3}, "positions-unit", "data.position_unit=mm"),
        ({"energy_ev": 1e-3}, "energy-unit", f"data.energy_ev={ENERGY_EV:.6g}"),
        ({"energy_ev": 1.602176634e-19}, "energy-unit", f"data.energy_ev={ENERGY_EV:.6g}"),
        ({"distance_m": 1e3}, "distance-unit", "data.distance_m="),
        ({"detector_pixel_m": 1e6}, "pixel-unit", "data.detector_pixel_m=7.5e-05"),
        ({"detector_pixel_m": 1e3}, "pixel-unit", "data.detector_pixel_m=7.5e-05"),
    ],
)
def test_the_only_possible_unit_is_taken(
    in_metres: Any, finding: Any, changes: dict[str, float], id: str, setting: str
) -> None:
    scan = in_metres(**changes)
    found = finding(scan, id)

    assert found.severity == "fixed"
    assert any("are taken to be in" in line for line in scan.assumptions) == (id != "positions-unit")
    assert found.setting is not None
    assert found.setting.startswith(setting)


def test_a_usual_step_in_another_unit_is_taken_before_an_unlikely_one_in_pixels(
    good: Any, read: Any, finding: Any
) -> None:
    """Positions in um of large object pixels are a fifth of a pixel apart if they are taken to be pixels."""
    distance_m = 6e-8 * good.n_pixels * DETECTOR_PIXEL_M / WAVELENGTH_M
    stored = {"energy_ev": ENERGY_EV, "distance_m": distance_m, "detector_pixel_m": DETECTOR_PIXEL_M}

    scan = read(good, positions=good.positions_px * 0.06, contents=stored | {"position_unit": None})

    assert finding(scan, "positions-unit").setting == "data.position_unit=um"
    np.testing.assert_allclose(scan.positions_px, good.positions_px, rtol=1e-6)


def test_small_steps_without_a_unit_are_doubted(good: Any, read: Any, finding: Any, ids: Any) -> None:
    found = finding(read(good, positions=good.positions_px * 0.06, contents={"position_unit": None}), "positions-unit")

    assert found.severity == "warning"
    assert ids(read(good, positions=good.positions_px * 0.06, position_unit="px")) == []


ALL_WRONG = {"energy_ev": 1e-3, "distance_m": 1e3, "detector_pixel_m": 1e6}


@pytest.mark.parametrize(
    ("changed", "typed"),
    [({"energy_ev": 1e-3}, True), ({"detector_pixel_m": 1e6}, True), (ALL_WRONG, True), (ALL_WRONG, False)],
)
def test_numbers_in_other_units_are_refused_with_the_numbers_to_type(
    good: Any, read: Any, changed: dict[str, float], typed: bool
) -> None:
    """What the user types is not changed, and of several wrong units none is."""
    distance_m = PIXEL_M * good.n_pixels * DETECTOR_PIXEL_M / WAVELENGTH_M
    right = {"energy_ev": ENERGY_EV, "distance_m": distance_m, "detector_pixel_m": DETECTOR_PIXEL_M}
    numbers = {name: value * changed.get(name, 1) for name, value in right.items()}
    contents = {"position_unit": "m"} | ({} if typed else numbers)

    with pytest.raises(DataError, match="cannot be right; possible are: ") as caught:
        read(good, positions=good.positions_px * PIXEL_M, contents=contents, **(numbers if typed else {}))
    assert str(caught.value.hint) == f"Try {' '.join(f'--set data.{name}={right[name]:.6g}' for name in changed)}."


def test_a_stated_unit_is_not_doubted(in_metres: Any, ids: Any) -> None:
    assert ids(in_metres(1e6, {"position_unit": "um"})) == []
    assert ids(in_metres(options={"energy_ev": ENERGY_EV}, energy_ev=1e-3)) == []


def test_numbers_that_are_impossible_in_any_unit_are_refused_with_the_settings_to_use(good: Any, read: Any) -> None:
    with pytest.raises(DataError, match="cannot be right") as caught:
        read(
            good,
            positions=good.positions_px * PIXEL_M,
            contents={
                "position_unit": "m",
                "energy_ev": ENERGY_EV,
                "distance_m": 1e12,
                "detector_pixel_m": DETECTOR_PIXEL_M,
            },
        )
    assert "data.distance_m" in str(caught.value.hint)
    assert str(caught.value.finding).endswith("-unit")


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_frames_far_from_all_others_are_left_out(good: Any, read: Any, finding: Any, seed: int) -> None:
    rng = np.random.default_rng(seed)
    positions, frames = good.positions_px.copy(), sorted(rng.choice(good.n_frames, 2, replace=False).tolist())
    positions[frames] += rng.choice([-1, 1], (2, 2)) * rng.uniform(1000, 5000, (2, 2))

    scan = read(good, positions=positions)

    assert list(finding(scan, "positions-outlier").frames) == frames
    np.testing.assert_array_equal(scan.positions_px, np.delete(good.positions_px, frames, axis=0))


def test_two_large_islands_are_no_outliers(good: Any, read: Any, ids: Any) -> None:
    positions = good.positions_px.copy()
    positions[good.n_frames // 3 :] += 1500

    assert ids(read(good, positions=positions)) == []


def test_repeated_positions_are_noted(good: Any, read: Any) -> None:
    positions = good.positions_px.copy()
    positions[10:20] = positions[10]

    found = [item for item in read(good, positions=positions).findings if item.id == "positions-duplicated"]
    assert [(item.severity, item.frames) for item in found] == [("note", tuple(range(10, 20)))]


def test_frames_along_the_last_axis_are_recognised(good: Any, read: Any, finding: Any) -> None:
    scan = read(good, np.moveaxis(good.counts, 0, -1))

    assert finding(scan, "frame-axes").severity == "fixed"
    np.testing.assert_array_equal(scan.counts, good.counts)


def test_the_light_tells_the_axis_of_the_frames_where_their_number_does_not(read: Any, finding: Any) -> None:
    """As many frames as rows and columns."""
    good = simulate(n_frames=32, n_pixels=32, seed=3)

    assert read(good).findings == ()
    scan = read(good, np.moveaxis(good.counts, 0, -1))

    assert finding(scan, "frame-axes").severity == "fixed"
    np.testing.assert_array_equal(scan.counts, good.counts)


@pytest.mark.parametrize("severity", ["note", "warning", "error"])
def test_a_severity_can_be_set(good: Any, read: Any, severity: str) -> None:
    stored = np.moveaxis(good.counts, 0, -1)
    if severity == "error":
        with pytest.raises(DataError, match="last axis") as caught:
            read(good, stored, findings=(("frame-axes", severity),))
        assert caught.value.finding == "frame-axes"
    else:
        scan = read(good, stored, findings=(("frame-axes", severity),))
        assert [(item.id, item.severity) for item in scan.findings] == [("frame-axes", severity)]
