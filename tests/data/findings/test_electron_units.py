"""Units of electron files: attributes are honoured, impossible numbers are corrected or refused with candidates."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from ptycho_cli.data.electron_microscope import Microscope, write_electron_scan
from ptycho_cli.data.read import read_scan
from ptycho_cli.data.read_options import ApertureOptions, ReadOptions
from ptycho_cli.data.readers.calibrations import split_name
from ptycho_cli.data.scan import Scan
from ptycho_cli.data.simulation import simulate
from ptycho_cli.errors import DataError

N, SIDE = 32, 12
MICROSCOPE = Microscope(voltage_kv=300.0, semi_angle_mrad=20.0, defocus_m=6e-9, angle_per_pixel_mrad=3.0)
PIXEL_M = MICROSCOPE.object_pixel_m(N)
DISTANCE_M, DETECTOR_PIXEL_M = 0.02, 60e-6  # make 3 mrad per pixel

Stored = Callable[..., Scan]


@pytest.fixture(scope="module")
def simulated() -> Scan:
    return simulate(
        n_frames=SIDE**2, n_pixels=N, photons=1e5, object_kind="atoms", pattern="grid",
        step_px=MICROSCOPE.step_px(N), measured_probe=MICROSCOPE.measured_probe(N),
    )  # fmt: skip


@pytest.fixture
def stored(simulated: Scan, tmp_path: Path) -> Stored:
    """Read the scan from an electron file; some calibrations get another value and unit, None deletes one."""

    def with_changes(options: ReadOptions | None = None, /, **changes: tuple[float, str | None] | None) -> Scan:
        path = tmp_path / "scan.h5"
        write_electron_scan(path, simulated, MICROSCOPE, force=True)
        with h5py.File(path, "a") as file:
            for name, change in changes.items():
                if name in file["calibration"]:
                    del file["calibration"][name]
                if change is not None:
                    file["calibration"][name] = change[0]
                    if change[1] is not None:
                        file["calibration"][name].attrs["units"] = change[1]
        return read_scan(path, options)

    return with_changes


@pytest.mark.parametrize(
    ("name", "quantity", "unit"),
    [
        ("voltage_kv", "voltage", "kV"), ("HT_kV", "ht", "kV"), ("beamEnergy_keV", "beam_energy", "keV"),
        ("scanStep_A", "scan_step", "A"), ("step_size_angstrom", "step_size", "A"), ("defocus_nm", "defocus", "nm"),
        ("dk_inv_A", "dk", "1/A"), ("k_pixel_per_nm", "k_pixel", "1/nm"), ("q_pixel_1_per_A", "q_pixel", "1/A"),
        ("mrad_per_pixel", "angle_per_pixel", "mrad"), ("Semi-Angle in mrad", "semi_angle", "mrad"),
        ("data", "data", None), ("m", "m", None), ("magnification", "magnification", None),
    ],
)  # fmt: skip
def test_names_are_split_into_quantity_and_unit(name: str, quantity: str, unit: str | None) -> None:
    assert split_name(name) == (quantity, unit)


def is_right(scan: Scan, simulated: Scan) -> None:
    """Wavelength, pixel, positions and probe are those of the simulation."""
    assert scan.radiation == "electron"
    assert scan.wavelength_m == pytest.approx(1.9687e-12, rel=1e-4)
    assert scan.object_pixel_m == pytest.approx(PIXEL_M, rel=1e-6)
    moved = simulated.positions_px - simulated.positions_px[0]
    np.testing.assert_allclose(scan.positions_px, moved, atol=1e-6)
    assert scan.probe is not None
    assert simulated.probe is not None
    overlap = np.vdot(scan.probe, simulated.probe) / np.linalg.norm(scan.probe) / np.linalg.norm(simulated.probe)
    assert abs(overlap) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"voltage": (300e3, "V")},
        {"voltage": None, "energy": (300e3, "eV")},
        {"voltage": None, "beam_energy": (300.0, "keV")},
        {"voltage": None, "HighTension_kV": (300.0, None)},
        {"semi_angle": None, "convergence_angle": (0.02, "rad")},
        {"angle_per_pixel": (0.003, "rad")},
        {"angle_per_pixel": None, "Q_pixel_size": (0.3e-2 / 1.9687490e-2, "A^-1")},
        {"angle_per_pixel": None, "q_pixel_size": (0.3e-2 / 1.9687490e-3, "1/nm")},
        {"angle_per_pixel": None, "q_pixel_size": (3.0, "mrad")},
        {"angle_per_pixel": None, "pixel_mrad": (3.0, None)},
        {"pixel_size": (55e-6, "m")},
        {"scan_step": (0.05, "nm")},
        {"scan_step": (50e-6, "µm")},
        {"scan_step": None, "stepSize_angstrom": (0.5, None)},
        {"defocus": (6.0, "nm")},
        {"alpha": (90.0, "deg"), "convergence": (1.0, None), "step": (7.0, None)},
        {"defocus": None, "defocus_nm": (6.0, None)},
    ],
    ids=lambda changes: "-".join(f"{name}{change or ''}" for name, change in changes.items()) or "as written",
)  # fmt: skip
def test_units_that_the_file_states_are_honoured(stored: Stored, simulated: Scan, changes: Any) -> None:
    scan = stored(**changes)

    assert [item.id for item in scan.findings if item.severity != "note"] == []
    is_right(scan, simulated)


@pytest.mark.parametrize(
    ("changes", "id", "setting"),
    [
        ({"voltage": (300e3, None)}, "energy-unit", "data.voltage_kv=300"),
        ({"voltage": (300e3, "kV")}, "energy-unit", "data.voltage_kv=300"),
        ({"voltage": None, "energy": (300.0, None)}, "energy-unit", "data.energy_ev="),
        ({"semi_angle": (0.02, None)}, "probe-size", "probe.semi_angle_mrad=20"),
        ({"angle_per_pixel": (3e-3, None)}, "pixel-unit", "data.angle_per_pixel_mrad=3"),
        (
            {"angle_per_pixel": None, "q_pixel_size": (0.3e-2 / 1.9687490e-3, None)},
            "pixel-unit",
            "data.reciprocal_pixel_per_angstrom=0.152",
        ),
        ({"scan_step": (0.5e-10 * 1e3, "m")}, "positions-unit", "data.position_unit=mm"),
        ({"scan_step": (50.0, "A")}, "positions-unit", None),
        ({"defocus": (60.0, None)}, "probe-size", "probe.defocus_m=6e-09"),
        ({"spherical_aberration": (1e5, None)}, "probe-size", "probe.cs_m=1e-05"),
    ],
    ids=lambda item: "-".join(item) if isinstance(item, dict) else "",
)  # fmt: skip
def test_the_only_possible_unit_is_taken_and_told(
    stored: Stored, simulated: Scan, changes: Any, id: str, setting: str | None
) -> None:
    if setting is None:
        with pytest.raises(DataError, match="steps of") as caught:
            stored(**changes)
        assert caught.value.finding == id
        return
    scan = stored(**changes)

    (found,) = [item for item in scan.findings if item.severity != "note"]
    assert (found.id, found.severity) == (id, "fixed")
    assert str(found.setting).startswith(setting)
    if "spherical_aberration" not in changes:
        is_right(scan, simulated)


def test_a_step_without_a_unit_is_in_angstrom(stored: Stored, simulated: Scan) -> None:
    scan = stored(scan_step=(0.5, None))

    is_right(scan, simulated)
    assert any("taken to be in A" in line for line in scan.assumptions)


def test_the_energy_of_an_electron_file_is_not_a_photons(stored: Stored, simulated: Scan) -> None:
    """Nothing but energy, distance and detector pixel: photons would have object pixels that no X-ray scan has."""
    nothing = dict.fromkeys(("voltage", "semi_angle", "angle_per_pixel", "defocus", "spherical_aberration"))
    geometry = {"energy": (300e3, None), "distance": (DISTANCE_M, None), "x_pixel_size": (DETECTOR_PIXEL_M, None)}
    scan = stored(**nothing, **geometry)
    assert scan.wavelength_m == pytest.approx(1.9687e-12, rel=1e-4)
    assert scan.object_pixel_m == pytest.approx(PIXEL_M, rel=1e-6)


@pytest.mark.parametrize("energy_kev", [60.0, 80.0, 120.0, 200.0])
def test_energies_that_photons_can_have_are_electrons_where_the_pixel_is_too_small(
    simulated: Scan, tmp_path: Path, energy_kev: float
) -> None:
    """Between 50 eV and 200 keV only the object pixel tells: below half a nanometre, it is an electron scan."""
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        file["data"], file["energy"] = simulated.counts.astype(np.uint16), 1e3 * energy_kev
        file["distance"], file["x_pixel_size"] = DISTANCE_M, DETECTOR_PIXEL_M
        file["positions"] = simulated.positions_px * 1.5e-11
    scan = read_scan(tmp_path / "scan.h5")

    (found,) = [item for item in scan.findings if item.severity != "note"]
    assert (found.id, found.severity, found.setting) == ("energy-unit", "fixed", "data.radiation=electron")
    assert scan.radiation == "electron"


def test_contradicting_numbers_are_refused_with_the_candidates(stored: Stored) -> None:
    with pytest.raises(DataError, match=r"semi-angle of 200 mrad|bright disc") as caught:
        stored(semi_angle=(80.0, "mrad"))
    assert "probe.semi_angle_mrad" in str(caught.value.hint)

    with pytest.raises(DataError, match=r"wavelength of 4.18e-12 m, for electrons of 300 kV"):
        stored(wavelength=(4.1757e-12, "m"))


def test_a_defocus_of_several_possible_units_is_left_to_the_frames(stored: Stored) -> None:
    scan = stored(defocus=(6.0, None))  # 6 nm make a beam of 2.4 angstrom, 6 angstrom one of 0.24

    (found,) = [item for item in scan.findings if item.severity != "note"]
    assert (found.id, found.severity, found.setting) == ("probe-size", "fixed", "probe.defocus_m")
    assert "nm and A" in found.message
    assert scan.probe is None


def test_a_beam_wider_than_the_frame_is_refused(stored: Stored) -> None:
    with pytest.raises(DataError, match="wide on the object") as caught:
        stored(ReadOptions(aperture=ApertureOptions(defocus_m=1e-6)))
    assert caught.value.finding == "probe-size"


def test_the_voltage_of_a_power_supply_makes_no_electron_scan(simulated: Scan, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        file["data"], file["positions"] = simulated.counts.astype(np.uint16), simulated.positions_px * 1e-8
        file["energy"], file["distance"], file["x_pixel_size"] = 8.9e3, 1e-8 * N * 75e-6 / 1.393e-10, 75e-6
        file["hv/voltage"], file["detector/bias/voltage"] = 500.0, 120.0
    scan = read_scan(tmp_path / "scan.h5")

    assert scan.radiation is None
    assert scan.object_pixel_m == pytest.approx(1e-8, rel=1e-3)
    assert [item.id for item in scan.findings if item.severity != "note"] == []


def test_an_x_ray_scan_may_have_an_angle_per_pixel(simulated: Scan, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        file["data"], file["positions"] = simulated.counts.astype(np.uint16), simulated.positions_px * 1e-8
        file["energy"], file["angle_per_pixel_mrad"] = 8.9e3, 1.393e-10 / (N * 1e-8) * 1e3
    scan = read_scan(tmp_path / "scan.h5")

    assert scan.radiation is None
    assert scan.object_pixel_m == pytest.approx(1e-8, rel=1e-3)


def test_numbers_that_look_like_calibrations_and_are_not_used_are_named(stored: Stored) -> None:
    scan = stored(scan_rotation=(12.0, "deg"), detector_gain=(2.0, None))

    named = [finding.message for finding in scan.findings if finding.id == "key-unused"]
    assert [name for name in ("scan_rotation", "detector_gain") if not any(name in line for line in named)] == []
    assert not any("not used" in line for line in scan.assumptions)


def test_steps_wider_than_the_probe_are_taken_from_a_file_that_states_all_units(tmp_path: Path) -> None:
    """No other unit helps, so the frames do not overlap; without its units, the file is refused."""
    for state in (True, False):
        with h5py.File(tmp_path / "scan.h5", "w") as file:
            file["data"] = np.random.default_rng(0).poisson(50, (4, 5, N, N))
            file["scan_step"], file["reciprocal_pixel"] = 25.0, 0.1
            if state:
                file["scan_step"].attrs["units"], file["reciprocal_pixel"].attrs["units"] = "nm", "1/nm"
        if state:
            (found,) = [finding for finding in read_scan(tmp_path / "scan.h5").findings if finding.id == "overlap-low"]
            assert found.severity == "warning"
    with pytest.raises(DataError, match="object pixels with a probe of"):
        read_scan(tmp_path / "scan.h5", ReadOptions(position_unit="m"))
