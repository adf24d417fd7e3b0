"""Numbers in the file that look physical and are not used are named, with the setting that would use them."""

from __future__ import annotations

from typing import Any

import pytest

from ptycho_cli.config.keys import find_key
from ptycho_cli.data.findings.unused_keys import QUANTITIES


def unused(scan: Any) -> list[Any]:
    return [item for item in scan.findings if item.id == "key-unused"]


@pytest.mark.parametrize(
    ("key", "value", "setting"),
    [
        ("scan_rotation", 12.5, "data.scan_rotation_deg=12.5"),
        ("entry/instrument/gain", 7.0, "data.counts_per_photon=7"),
        ("Voltage_kV", 300.0, "data.voltage_kv=300"),
        ("beam/defocus", 2e-7, "probe.defocus_m=2e-07"),
        ("conv_semi_angle", 20.0, "probe.semi_angle_mrad=20"),
        ("entry/photon_energy", 8000.0, "data.energy_ev=8000"),
        ("camera_length", 0.2, "data.distance_m=0.2"),
        ("stage_tilt_angle", 30.0, None),
        ("positions/units", "um", "data.position_unit=um"),
    ],
)
def test_a_key_is_named_with_its_setting(good: Any, read: Any, key: str, value: float | str, setting: str) -> None:
    contents = {"single_values": {key: value, "frames": 81.0, "version": 2.0}, "position_unit": None}

    (found,) = unused(read(good, contents=contents))

    assert found.severity == "note"
    assert f"'{key}'" in found.message
    assert found.setting == (setting or "data.findings.key-unused=ignore")


@pytest.mark.parametrize(
    ("key", "value", "contents", "options"),
    [
        ("scan_rotation", 0.0, {}, {}),
        ("gain", 1.0, {}, {}),
        ("photon_energy", 8000.0, {"wavelength_m": 1.5e-10}, {}),
        ("gain", 7.0, {}, {"counts_per_photon": 7.0}),
        ("scan_rotation", 12.5, {}, {"scan_rotation_deg": 12.5}),
        ("rotation_name", "sample", {}, {}),
    ],
)
def test_what_changes_nothing_or_is_known_is_not_named(
    good: Any, read: Any, key: str, value: float | str, contents: Any, options: Any
) -> None:
    assert unused(read(good, contents={"single_values": {key: value}, **contents}, **options)) == []


def test_every_setting_that_is_named_exists() -> None:
    assert [item.setting for item in QUANTITIES if item.setting and find_key(item.setting) is None] == []
