"""Reading: what each layout means, and one clear line for each kind of bad input."""

from __future__ import annotations

import bz2
import io
import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from ptycho_cli.data.read import read_scan
from ptycho_cli.data.read_options import ReadOptions
from ptycho_cli.errors import DataError

SHARED = Path(os.environ.get("PTYCHO_TEST_DATA", Path(__file__).parents[2].parent / "shared" / "data"))
N, SIZE = 30, 16


def shared(name: str) -> Path:
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"{path} is not here; set PTYCHO_TEST_DATA to the folder of measured scans")
    return path


def arrays(size: tuple[int, int] = (SIZE, SIZE)) -> dict[str, NDArray[Any]]:
    """A scan of a spot of light, brighter on its right side and zero frequency at the centre."""
    rng = np.random.default_rng(1)
    y, x = (np.arange(n) - n // 2 for n in size)
    spot = 1000 * np.exp(-(y[:, None] ** 2 + x[None] ** 2) / 8) * (1 + 0.5 * (x > 0)[None])
    probe = np.exp(-(y[:, None] ** 2 + x[None] ** 2) / 6).astype(np.complex64)
    counts = rng.poisson(spot, (N, *size)).astype(np.int32)
    return {"diffraction": counts, "scan_yx_px": rng.uniform(-30, 30, (N, 2)), "probe": probe}


def save(path: Path, **stored: Any) -> Path:
    np.savez(path, **stored)
    return path


def save_h5(path: Path, **stored: Any) -> Path:
    with h5py.File(path, "w") as file:
        for name, value in stored.items():
            file[name.replace("__", "/")] = value
    return path


def test_frames_positions_and_scaled_probe_are_read_by_name(tmp_path: Path) -> None:
    stored = arrays()
    scan = read_scan(save(tmp_path / "a.npz", **stored))

    np.testing.assert_array_equal(scan.counts, stored["diffraction"])
    np.testing.assert_allclose(scan.positions_px, stored["scan_yx_px"])
    assert scan.probe is not None
    assert scan.probe.shape == (1, SIZE, SIZE)
    assert np.sum(np.abs(scan.probe) ** 2) == pytest.approx(scan.counts.sum(axis=(1, 2)).mean(), rel=1e-5)


def test_npz_and_hdf5_with_the_same_names_are_the_same_scan(tmp_path: Path) -> None:
    npz, h5 = read_scan(save(tmp_path / "a.npz", **arrays())), read_scan(save_h5(tmp_path / "a.h5", **arrays()))
    deep = read_scan(save_h5(tmp_path / "b.h5", **{f"scans__one__{k}": v for k, v in arrays().items()}))

    for other in (h5, deep):
        np.testing.assert_array_equal(npz.counts, other.counts)
        np.testing.assert_array_equal(npz.positions_px, other.positions_px)


def test_leading_axes_and_compression_of_the_whole_file_change_nothing(tmp_path: Path) -> None:
    stored = arrays()
    plain = read_scan(save(tmp_path / "a.npz", **stored))
    buffer = io.BytesIO()
    wrapped = {"data": stored["diffraction"][None], "scan": stored["scan_yx_px"][None]}
    np.savez(buffer, **wrapped, probe=stored["probe"][None, None, None, None])
    (tmp_path / "b.npz.bz2").write_bytes(bz2.compress(buffer.getvalue()))
    scan = read_scan(tmp_path / "b.npz.bz2")

    np.testing.assert_array_equal(scan.counts, plain.counts)
    np.testing.assert_array_equal(scan.positions_px, plain.positions_px)
    np.testing.assert_array_equal(scan.probe, plain.probe)


@pytest.mark.parametrize("stored_corner", [False, True])
def test_the_zero_frequency_ends_at_the_centre_wherever_it_was(tmp_path: Path, stored_corner: bool) -> None:
    stored = arrays()
    expected = stored["diffraction"]
    if stored_corner:
        stored["diffraction"] = np.fft.ifftshift(expected, axes=(1, 2))
    scan = read_scan(save(tmp_path / "a.npz", **stored))
    wrong = read_scan(tmp_path / "a.npz", ReadOptions(zero_frequency="center" if stored_corner else "corner"))

    np.testing.assert_array_equal(scan.counts, expected)
    np.testing.assert_array_equal(wrong.counts, np.fft.fftshift(expected, axes=(1, 2)))
    moved = [finding for finding in scan.findings if finding.id == "zero-frequency"]
    assert len(moved) == stored_corner
    assert any("data.zero_frequency" in line for line in scan.assumptions) != stored_corner
    assert all(finding.setting == "data.zero_frequency=center" for finding in moved)
    assert not any("data.zero_frequency" in line for line in wrong.assumptions)
    assert "zero-frequency" not in {finding.id for finding in wrong.findings}


def test_positions_in_metres_become_pixels_by_wavelength_distance_and_detector_pixel(tmp_path: Path) -> None:
    stored = arrays()
    positions = stored.pop("scan_yx_px")
    geometry = {"wavelength_m": 1e-10, "distance_m": 2.0, "detector_pixel_m": 1e-4}
    pixel = 1e-10 * 2.0 / (SIZE * 1e-4)
    scan = read_scan(save(tmp_path / "a.npz", position=positions * pixel, **stored, **geometry))

    np.testing.assert_allclose(scan.positions_px, positions)
    assert scan.object_pixel_m == pytest.approx(pixel)


def test_order_and_signs_of_positions_can_be_stated(tmp_path: Path) -> None:
    stored = arrays()
    plain = stored["scan_yx_px"]
    scan = read_scan(save(tmp_path / "a.npz", **stored), ReadOptions(position_order="xy", flip_positions="y"))

    np.testing.assert_allclose(scan.positions_px, plain[:, ::-1] * [-1, 1])


def test_ptychopinn_names_mean_array_coordinates_and_amplitudes(tmp_path: Path) -> None:
    stored = arrays()
    amplitude = np.sqrt(stored["diffraction"]).astype(np.float32)
    y, x = (stored["scan_yx_px"] + 60).T
    path = save(tmp_path / "a.npz", diff3d=amplitude, xcoords=x, ycoords=y, probeGuess=stored["probe"])
    scan = read_scan(path)

    np.testing.assert_allclose(scan.counts, stored["diffraction"], rtol=1e-5)
    np.testing.assert_allclose(scan.positions_px, stored["scan_yx_px"] + 60)
    assert any("data.stored" in line for line in scan.assumptions)
    np.testing.assert_allclose(read_scan(path, ReadOptions(stored="counts")).counts, amplitude)


def test_cxi_translations_of_the_sample_become_positions_of_the_probe(tmp_path: Path) -> None:
    """Rows and columns that run against y and x cancel the sample's sign; a turned row axis does not."""
    stored, pixel = arrays(), 1e-10 * 2.0 / (SIZE * 1e-4)
    y, x = (stored["scan_yx_px"] * pixel).T
    detector, source = "entry_1__instrument_1__detector_1", "entry_1__instrument_1__source_1"
    mask = np.zeros((SIZE, SIZE), np.uint32)
    mask[0, 3] = 1
    contents = {
        f"{detector}__data": stored["diffraction"],
        f"{detector}__mask": mask,
        f"{detector}__distance": 2.0,
        f"{detector}__x_pixel_size": 1e-4,
        f"{source}__wavelength": 1e-10,
        "entry_1__sample_1__geometry_1__translation": np.stack([x, y, 0 * x], axis=1),
    }
    basis = np.array([[0, -1.0], [-1.0, 0], [0, 0]]) * 1e-4
    plain = read_scan(save_h5(tmp_path / "a.cxi", **contents))
    usual = read_scan(save_h5(tmp_path / "b.cxi", **contents, **{f"{detector}__basis_vectors": basis}))
    turned = read_scan(save_h5(tmp_path / "c.cxi", **contents, **{f"{detector}__basis_vectors": basis * [-1, 1]}))

    np.testing.assert_allclose(plain.positions_px, stored["scan_yx_px"])
    np.testing.assert_allclose(usual.positions_px, stored["scan_yx_px"])
    np.testing.assert_allclose(turned.positions_px, stored["scan_yx_px"] * [-1, 1])
    assert not plain.mask[0, 3]
    assert plain.mask.sum() == SIZE**2 - 1


def test_ptypy_chunks_are_joined_in_the_order_of_their_indices(tmp_path: Path) -> None:
    stored = arrays()
    pixel = 1.23984198433e-10 * 2.0 / (SIZE * 1e-4)
    order = np.random.default_rng(2).permutation(N)
    contents: dict[str, Any] = {"meta__energy": 10.0, "meta__distance": 2.0, "meta__psize": [1e-4, 1e-4]}
    for number, part in enumerate((order[:11], order[11:])):
        contents[f"chunks__{number}__data"] = stored["diffraction"][part]
        contents[f"chunks__{number}__positions"] = stored["scan_yx_px"][part] * pixel
        contents[f"chunks__{number}__indices"] = part
    scan = read_scan(save_h5(tmp_path / "a.ptyd", **contents))

    np.testing.assert_array_equal(scan.counts, stored["diffraction"])
    np.testing.assert_allclose(scan.positions_px, stored["scan_yx_px"])


def test_a_ptychodus_product_with_frames_is_read_and_one_without_is_named_as_such(tmp_path: Path) -> None:
    stored = arrays()
    y, x = (stored["scan_yx_px"] * 1e-8).T
    contents = {"probe_position_y_m": y, "probe_position_x_m": x, "probe": stored["probe"][None]}
    for name, extra in (("a.h5", {"diffraction": stored["diffraction"]}), ("b.h5", {})):
        with h5py.File(save_h5(tmp_path / name, **contents, **extra), "a") as file:
            file["probe"].attrs["pixel_width_m"] = 1e-8

    np.testing.assert_allclose(read_scan(tmp_path / "a.h5").positions_px, stored["scan_yx_px"])
    with pytest.raises(DataError, match="no diffraction"):
        read_scan(tmp_path / "b.h5")


def test_odd_and_oblong_frames_are_cropped_around_the_zero_frequency_and_positions_follow(tmp_path: Path) -> None:
    """A smaller detector has larger object pixels: 17 rows to 16 shrink positions by 16 / 17."""
    stored = arrays((17, 20))
    stored.pop("probe")
    scan = read_scan(save(tmp_path / "a.npz", **stored))

    np.testing.assert_array_equal(scan.counts, stored["diffraction"][:, :16, 2:18])
    np.testing.assert_allclose(scan.positions_px, stored["scan_yx_px"] * [16 / 17, 16 / 20])
    assert any("cropped" in line for line in scan.assumptions)


def test_pixels_that_are_negative_by_wrapping_or_in_every_frame_are_masked_and_said(tmp_path: Path) -> None:
    stored = arrays()
    stored["diffraction"][:, 2, 2] = -1
    stored["diffraction"][:, 8, 8] = 2**31 - 5
    stored["diffraction"][3, 8, 8] = -(2**31) + 7
    scan = read_scan(save(tmp_path / "a.npz", **stored))

    assert not scan.mask[2, 2]
    assert not scan.mask[8, 8]
    assert (scan.counts[:, ~scan.mask] == 0).all()
    masked = [finding for finding in scan.findings if finding.id == "pixels-sentinel"]
    assert {pixel for finding in masked for pixel in finding.pixels} == {(2, 2), (8, 8)}
    assert all("masked" in finding.message for finding in masked)


def test_dead_lines_and_pixels_amid_light_are_masked_and_dark_margins_are_not(tmp_path: Path) -> None:
    stored = arrays((32, 32))
    stored["diffraction"][:, 15] = 0
    stored["diffraction"][:, 17, 18] = 0
    scan = read_scan(save(tmp_path / "a.npz", **stored))

    assert not scan.mask[15, 10:22].any()
    assert not scan.mask[17, 18]
    assert scan.mask[0].all()
    assert scan.mask[16].all()


def test_only_the_first_frames_are_read_on_request(tmp_path: Path) -> None:
    for path in (save(tmp_path / "a.npz", **arrays()), save_h5(tmp_path / "a.h5", **arrays())):
        scan = read_scan(path, ReadOptions(max_frames=7))

        assert scan.counts.shape[0] == scan.positions_px.shape[0] == 7


def with_subtracted_background(stored: dict[str, NDArray[Any]]) -> None:
    stored["diffraction"] = stored["diffraction"].astype(np.float32) - 3


def with_short_positions(stored: dict[str, NDArray[Any]]) -> None:
    stored["scan_yx_px"] = stored["scan_yx_px"][:-1]


def with_flat_positions(stored: dict[str, NDArray[Any]]) -> None:
    stored["scan_yx_px"] = stored["scan_yx_px"].ravel()


def with_zeros(stored: dict[str, NDArray[Any]]) -> None:
    stored["diffraction"] = stored["diffraction"] * 0


def with_one_frame(stored: dict[str, NDArray[Any]]) -> None:
    stored["diffraction"] = stored["diffraction"][0]


def with_waves(stored: dict[str, NDArray[Any]]) -> None:
    stored["diffraction"] = stored["diffraction"].astype(np.complex64)


def with_large_probe(stored: dict[str, NDArray[Any]]) -> None:
    stored["probe"] = np.ones((20, 20), np.complex64)


def without_frames(stored: dict[str, NDArray[Any]]) -> None:
    stored["speckles"] = stored.pop("diffraction")[0]


def without_positions(stored: dict[str, NDArray[Any]]) -> None:
    del stored["scan_yx_px"]


def with_other_mask(stored: dict[str, NDArray[Any]]) -> None:
    stored["mask"] = np.ones((4, 4))


@pytest.mark.parametrize("writer", [save, save_h5])
@pytest.mark.parametrize(
    ("spoil", "line"),
    [
        (with_subtracted_background, r"'diffraction' is negative in \d+ pixels, first -\d.0 in frame 0 at \(y, x\) ="),
        (with_short_positions, r"'scan_yx_px' has 29 positions, but 'diffraction' has 30 frames"),
        (with_flat_positions, r"'scan_yx_px' has shape \(60,\), expected \(frame, 2\)"),
        (with_zeros, r"'diffraction' is zero in all 30 frames"),
        (with_one_frame, r"'diffraction' has shape \(16, 16\), expected \(frame, y, x\)"),
        (with_waves, r"'diffraction' is of type complex64, expected real numbers"),
        (with_large_probe, r"'probe' is \(20, 20\), but 'diffraction' has frames of \(16, 16\)"),
        (without_frames, r"no diffraction in it; it holds .*speckles"),
        (without_positions, r"no positions in it, expected one \(y, x\) for each of its 30 frames"),
        (with_other_mask, r"'mask' is \(4, 4\), but 'diffraction' has frames of \(16, 16\)"),
    ],
)
def test_a_bad_scan_is_refused_in_one_line_that_names_the_file(
    tmp_path: Path, writer: Any, spoil: Any, line: str
) -> None:
    stored = arrays()
    spoil(stored)
    path = writer(tmp_path / "scan.npz", **stored)

    with pytest.raises(DataError, match=line) as caught:
        read_scan(path)
    assert caught.value.message.startswith(f"{path}: ")
    assert "\n" not in caught.value.message
    assert caught.value.hint
    assert caught.value.exit_code == 2


def test_frames_of_unknown_position_are_left_out_and_told_or_refused(tmp_path: Path) -> None:
    stored = arrays()
    stored["scan_yx_px"] = np.array(stored["scan_yx_px"], dtype=float)
    stored["scan_yx_px"][[4, 7], 0] = np.nan
    path = save(tmp_path / "scan.npz", **stored)

    scan = read_scan(path)
    assert [(item.id, item.frames) for item in scan.findings if item.severity == "fixed"] == [
        ("positions-outlier", (4, 7))
    ]
    assert scan.n_frames == 28
    with pytest.raises(DataError, match="is NaN or infinite for 2 of 30 frames, first frame 4") as caught:
        read_scan(path, ReadOptions(reject_bad_frames="never"))
    assert "data.exclude_frames" in (caught.value.hint or "")
    with pytest.raises(DataError, match="is NaN or infinite for 1 of 29 frames, first frame 7"):
        read_scan(path, ReadOptions(exclude_frames=("4",), reject_bad_frames="never"))
    assert read_scan(path, ReadOptions(exclude_frames=("4,7",))).n_frames == 28


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (None, "no such file"),
        (b"", "the file is empty"),
        (b"time,counts\n1,2\n", "neither an HDF5 nor an NPZ file"),
        (b"\x89HDF\r\n\x1a\n" + bytes(50), "damaged or cut-off HDF5"),
        (b"PK\x03\x04" + bytes(50), "damaged, expected an NPZ archive"),
        (b"BZh" + bytes(50), "damaged, expected an NPZ archive"),
    ],
)
def test_a_file_that_is_no_scan_file_is_refused_in_one_line(tmp_path: Path, content: bytes | None, line: str) -> None:
    path = tmp_path / "scan.h5"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(DataError, match=line) as caught:
        read_scan(path)
    assert caught.value.hint


def test_a_misspelt_file_name_is_met_with_the_nearest_one(tmp_path: Path) -> None:
    save(tmp_path / "siemens.npz", **arrays())

    with pytest.raises(DataError) as caught:
        read_scan(tmp_path / "seimens.npz")
    assert "siemens.npz" in str(caught.value.hint)


def test_the_real_star_reads_the_same_from_both_of_its_files() -> None:
    ours = read_scan(shared("siemens_star/siemens_star_small.npz"))
    theirs = read_scan(shared("siemens_star/siemens-star-small.npz.bz2"))

    np.testing.assert_array_equal(ours.counts, theirs.counts)
    np.testing.assert_array_equal(ours.positions_px, theirs.positions_px)
    assert ours.counts[:, 32:96, 32:96].sum() > 0.7 * ours.counts.sum()


def test_the_origin_of_star64s_truth_is_found_from_where_the_patches_fit() -> None:
    scan = read_scan(shared("star64/star64_low_1e4.npz"))

    assert scan.truth is not None
    assert scan.truth_origin_px == (-scan.truth.shape[0] / 2, -scan.truth.shape[1] / 2)


def test_a_measured_near_field_scan_is_recognised_from_its_frames_and_refused_for_training() -> None:
    from ptycho_cli.data.scan_checks import refuse_near_field

    scan = read_scan(shared("petra_nearfield/PETRAIII_P25_Near_Field_Ptycho.cxi"))

    assert scan.n_frames == 200
    with pytest.raises(DataError, match=r"near-field scan .*far-field"):
        refuse_near_field(scan)
    refuse_near_field(read_scan(shared("star64/star64_low_1e4.npz")))


def test_a_measured_scan_without_a_pixel_size_asks_for_it_and_its_reversed_axis_is_noticed() -> None:
    path = shared("aps_26id_235/test235_truncated.npz")

    with pytest.raises(DataError, match="size of an object pixel is not known"):
        read_scan(path)
    assert any("reversed" in line for line in read_scan(path, ReadOptions(object_pixel_m=1e-8)).assumptions)
    flipped = read_scan(path, ReadOptions(object_pixel_m=1e-8, flip_positions="y"))
    assert not any("reversed" in line for line in flipped.assumptions)
