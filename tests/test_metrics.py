"""Metrics: properties that alignment removes or keeps, and scores of known answers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from ptycho_cli.cli.app import main
from ptycho_cli.data.misfit import misfit
from ptycho_cli.data.reconstruction import Reconstruction
from ptycho_cli.data.scan import Scan
from ptycho_cli.data.simulation import simulate
from ptycho_cli.data.write import write_reconstruction, write_scan
from ptycho_cli.errors import DataError, ShapeError
from ptycho_cli.geometry import covered_area
from ptycho_cli.metrics import (
    frc,
    half_spread,
    inner_rectangle,
    phase_correlation,
    r_factor,
    report,
    score,
    score_flat,
)
from ptycho_cli.registration import align

SHAPE = (120, 140)


def make_object(seed: int = 0, cut: float = 0.3) -> NDArray[np.complex128]:
    """A random object without frequencies above ``cut``, so that a shift by part of a pixel is exact."""
    rng = np.random.default_rng(seed)
    radius = np.hypot(np.fft.fftfreq(SHAPE[0])[:, None], np.fft.fftfreq(SHAPE[1])[None, :])
    weight = (radius < cut) / (1 + (radius / 0.05) ** 2)
    amplitude, phase = (np.fft.ifft2(np.fft.fft2(rng.standard_normal(SHAPE)) * weight).real for _ in range(2))
    field = 0.15 * amplitude / amplitude.std() + 1j * 0.3 * phase / phase.std()
    return 1 + field


def disturb(obj: NDArray[np.complex128], shift: tuple[float, float]) -> NDArray[np.complex128]:
    """Apply what the data leave open: a cyclic shift, a complex factor and a phase plane."""
    y, x = (np.fft.fftfreq(n) for n in SHAPE)
    ramp = np.exp(-2j * np.pi * (shift[0] * y[:, None] + shift[1] * x[None, :]))
    rows, columns = np.indices(SHAPE)
    plane = np.exp(1j * (0.011 * rows - 0.023 * columns))
    return np.fft.ifft2(np.fft.fft2(obj) * ramp) * (0.4 - 1.7j) * plane


def inner_coverage() -> NDArray[np.float32]:
    coverage = np.zeros(SHAPE, np.float32)
    coverage[24:-24, 24:-24] = 3.0
    return coverage


@pytest.mark.parametrize("shift", [(0.0, 0.0), (2.37, -1.61), (-7.5, 11.25)])
@pytest.mark.parametrize("known", [False, True])
def test_shift_factor_and_phase_plane_are_removed(shift: tuple[float, float], known: bool) -> None:
    truth = make_object()
    aligned = align(
        disturb(truth, shift), truth, coverage=inner_coverage(), offset_px=(-shift[0], -shift[1]) if known else None
    )

    assert aligned.offset_px == pytest.approx((-shift[0], -shift[1]), abs=1e-3)
    # what is left comes from the mirrored margin of the moved image
    assert score(aligned).complex_snr_db > 55


def test_a_reconstruction_of_another_size_is_found_on_the_reference() -> None:
    truth = make_object()
    part = disturb(truth, (0.3, 0.4))[31:101, 17:107]

    aligned = align(part, truth)

    assert aligned.offset_px == pytest.approx((30.7, 16.6), abs=0.02)
    assert phase_correlation(aligned) > 0.999
    assert phase_correlation(align(truth, part)) > 0.999


def test_a_perfect_reconstruction_has_perfect_scores_above_those_of_the_flat_object() -> None:
    truth = make_object(cut=0.5)
    aligned = align(truth, truth)
    perfect, flat = score(aligned), score_flat(aligned)

    assert perfect.amplitude_ssim == pytest.approx(1.0)
    assert perfect.phase_ssim == pytest.approx(1.0)
    assert perfect.complex_snr_db > 200
    assert perfect.frc50_nyquist == perfect.frc143_nyquist == perfect.frc_half_bit_nyquist == 1.0
    assert all(getattr(flat, name) < getattr(perfect, name) for name in vars(perfect))


def test_the_flat_objects_snr_is_that_of_the_best_constant() -> None:
    """|t|^2 / |t - mean|^2 in closed form; a phase plane cannot help by much where there is none."""
    truth = make_object()
    closed_form = 10 * np.log10(np.mean(np.abs(truth) ** 2) / np.var(truth))

    assert score_flat(align(truth, truth)).complex_snr_db == pytest.approx(closed_form, abs=0.3)


def test_noise_of_known_power_gives_its_snr() -> None:
    truth, rng = make_object(), np.random.default_rng(1)
    noise = rng.standard_normal((2, *SHAPE)) * 0.05
    aligned = align(truth + noise[0] + 1j * noise[1], truth)
    expected = 10 * np.log10(np.mean(np.abs(truth) ** 2) / (2 * 0.05**2))

    assert score(aligned).complex_snr_db == pytest.approx(expected, abs=0.1)


def test_structure_is_not_aligned_away() -> None:
    """Alignment fits six numbers, which cannot turn one object into another."""
    aligned = align(make_object(seed=1), make_object(seed=2), offset_px=(0.0, 0.0))

    assert abs(phase_correlation(aligned)) < 0.35
    assert score(aligned).phase_ssim < 0.5


def test_pixels_outside_the_covered_area_are_ignored() -> None:
    truth = make_object()
    spoilt = truth.copy()
    spoilt[:20] = 50j
    spoilt[:, -20:] = np.nan
    aligned = align(spoilt, truth, coverage=inner_coverage())

    assert score(aligned).complex_snr_db > 40
    assert not aligned.covered[:24].any()


def test_covered_pixels_have_a_tenth_of_the_median_coverage_above_zero() -> None:
    coverage = np.array([0.0, 0.0, 0.0, 0.0, 0.5, 1.5, 10.0, 10.0, 12.0])

    assert covered_area(coverage).tolist() == [False] * 4 + [False, True, True, True, True]


def test_a_wrapped_phase_is_compared_on_one_branch() -> None:
    """Structure of several radians: the same object is perfect although both phases wrap."""
    truth = np.exp(1j * 9 * (make_object().imag))
    aligned = align(truth * np.exp(0.5j), truth, offset_px=(0.0, 0.0))

    assert score(aligned).phase_ssim == pytest.approx(1.0, abs=1e-6)
    assert score(aligned).phase_psnr_db > 100


def test_ring_correlation_of_equal_images_is_one_and_of_independent_noise_about_zero() -> None:
    rng = np.random.default_rng(3)
    one, two = rng.standard_normal((2, *SHAPE)) + 1j * rng.standard_normal((2, *SHAPE))
    area = np.ones(SHAPE, bool)

    np.testing.assert_allclose(frc(one, one, area).correlation, 1.0, atol=1e-12)
    independent = frc(one, two, area)
    assert np.sqrt(np.mean(independent.correlation[6:] ** 2)) < 0.15
    assert independent.cut(0.5) < 0.15


def test_ring_correlation_cuts_where_the_common_band_ends() -> None:
    truth, rng = make_object(cut=0.2), np.random.default_rng(4)
    noise = 3e-3 * (rng.standard_normal((2, 2, *SHAPE)) * np.array([1, 1j]).reshape(1, 2, 1, 1)).sum(axis=1)

    curve = frc(truth + noise[0], truth + noise[1], np.ones(SHAPE, bool))
    assert curve.cut(0.5) == pytest.approx(0.4, abs=0.05)  # 0.2 of the sampling frequency is 0.4 of Nyquist
    assert curve.cut(0.5) <= curve.cut(1 / 7)


def test_the_r_factor_is_its_formula_and_ignores_masked_pixels() -> None:
    counts, rate = np.array([[[4.0, 9.0], [1.0, 100.0]]]), np.array([[[1.0, 9.0], [4.0, 0.0]]])
    mask = np.array([[True, True], [True, False]])

    assert r_factor(counts, rate, mask) == pytest.approx((1 + 0 + 1) / (2 + 3 + 1))


@pytest.mark.parametrize(
    ("obj", "coverage", "line"),
    [
        (np.ones((3, 40, 40), complex), None, r"expected an image"),
        (np.full((40, 40), np.nan + 0j), None, "only 0 pixels of the object are covered"),
        (np.ones((40, 40), complex), np.zeros((40, 40)), "only 0 pixels of the object are covered"),
    ],
)
def test_objects_that_cannot_be_compared_are_refused(
    obj: NDArray[np.complex128], coverage: NDArray[np.float64] | None, line: str
) -> None:
    with pytest.raises(ShapeError, match=line):
        align(obj, np.ones((40, 40), complex), coverage=coverage)


def test_a_reference_that_does_not_overlap_is_refused() -> None:
    with pytest.raises(ShapeError, match="share 0 covered pixels"):
        align(make_object(), make_object(), offset_px=(500.0, 0.0))


def at_the_truth(scan: Scan) -> Reconstruction:
    assert scan.truth is not None
    assert scan.probe is not None
    assert scan.truth_origin_px is not None
    coverage = np.ones(scan.truth.shape, np.float32)
    return Reconstruction(scan.truth, scan.probe, scan.positions_px, coverage, scan.truth_origin_px)


def test_the_misfit_at_the_truth_is_the_noise_and_an_empty_object_fits_worse() -> None:
    scan = simulate(n_frames=16, n_pixels=32, photons=1e8)
    result = at_the_truth(scan)
    flat = Reconstruction(**{**vars(result), "object": np.ones_like(result.object)})

    at_truth, without = misfit(result, scan), misfit(flat, scan)
    assert at_truth.deviance == pytest.approx(0.5, abs=0.03)
    assert at_truth.r_factor < 0.01
    assert without.r_factor > 10 * at_truth.r_factor


def test_a_reconstruction_of_another_scan_is_refused() -> None:
    result = at_the_truth(simulate(n_frames=16, n_pixels=32))

    with pytest.raises(DataError, match="9 frames, but the reconstruction has 16 positions"):
        misfit(result, simulate(n_frames=9, n_pixels=32))
    with pytest.raises(DataError, match="frames of 16 pixels"):
        misfit(result, simulate(n_frames=16, n_pixels=16))


def test_evaluate_prints_the_metrics_by_name_beside_those_of_the_flat_object(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scan = simulate(n_frames=25, n_pixels=32)
    write_scan(tmp_path / "scan.h5", scan)
    write_reconstruction(tmp_path / "r.h5", at_the_truth(scan))
    recon, truth = str(tmp_path / "r.h5"), str(tmp_path / "scan.h5")

    words = ["evaluate", recon, "--truth", truth, "--data", truth, "--reference", f"{recon}:object", "--json"]
    assert main(words) == 0
    printed = json.loads(capsys.readouterr().out)

    expected = report(align(at_the_truth(scan).object, at_the_truth(scan).object, offset_px=(0.0, 0.0)))
    about_the_data = {"r_factor", "deviance", "verdict", "findings", "assumptions"}
    assert set(expected) | about_the_data | {"phase_correlation"} == set(printed)
    assert printed["flat_object"] == pytest.approx(expected["flat_object"])
    assert printed["complex_snr_db"] > 100
    assert printed["phase_correlation"] == {f"{recon}:object": pytest.approx(1.0)}

    assert main(words[:-1]) == 0
    assert "flat" in capsys.readouterr().out


def test_evaluate_finds_a_shifted_object_in_an_npz_and_reports_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    truth = make_object()
    np.savez(tmp_path / "truth.npz", object_true=truth)
    np.savez(tmp_path / "mine.npz", object=disturb(truth, (3.2, -4.1))[10:-10, 10:-10])
    mine, true = str(tmp_path / "mine.npz"), str(tmp_path / "truth.npz")

    assert main(["evaluate", mine, "--truth", true, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["phase_ssim"] > 0.97

    for words, line in (
        ([mine], "nothing to compare with"),
        (
            [mine, "--truth", f"{true}:speckles"],
            "no complex array 'speckles' in it; its complex arrays are",
        ),
        ([mine, "--data", true], "an object without probe and positions"),
        ([mine, "--truth", str(tmp_path / "none.npz")], "no such file"),
    ):
        assert main(["evaluate", *words]) == 2
        assert line in capsys.readouterr().err


def test_the_rectangle_of_the_rings_lies_inside_the_area_and_is_the_largest() -> None:
    area = np.zeros((60, 90), dtype=bool)
    area[5:30, 4:80] = True
    area[5:58, 4:24] = True
    area[12, 40] = False  # a hole counts as inside

    assert inner_rectangle(area) == (slice(5, 30), slice(4, 80))
    assert inner_rectangle(area[:, 65:]) == (slice(5, 30), slice(0, 15))


def test_rings_of_an_area_without_a_large_rectangle_are_those_of_the_area(rng: np.random.Generator) -> None:
    area = np.abs(np.subtract(*np.indices((80, 80)))) < 8  # a diagonal band
    field = rng.standard_normal(area.shape) + 1j

    assert frc(field, field, area).cut(0.5) == 1.0
    assert frc(field, rng.standard_normal(area.shape) + 1j, area).cut(0.5) < 0.3


def test_a_common_outline_adds_no_correlation_of_rings(rng: np.random.Generator) -> None:
    """Independent noise on a disc of vacuum does not correlate beyond the lowest rings."""
    y, x = np.indices((120, 120)) - 59.5
    area = np.hypot(y, x) < 50
    fields = [np.where(area, 1 + 0.1 * rng.standard_normal(area.shape), 0).astype(np.complex128) for _ in range(2)]

    curve = frc(fields[0], fields[1], area)

    assert curve.cut(0.5) < 0.15
    assert abs(curve.correlation[5:].mean()) < 0.06


def test_the_spread_of_two_halves_is_half_their_noise(rng: np.random.Generator) -> None:
    """The mean of two measurements of standard deviation s has the standard error s / sqrt(2)."""
    area = np.ones((200, 200), dtype=bool)
    area[:20] = False
    amplitudes = [1 + 0.02 * rng.standard_normal(area.shape) for _ in range(2)]
    phases = [1.5 + 0.04 * rng.standard_normal(area.shape) for _ in range(2)]
    first, second = (a * np.exp(1j * p) for a, p in zip(amplitudes, phases, strict=True))

    amplitude, phase = half_spread(first, second, area)

    assert np.sqrt(np.mean(amplitude[area] ** 2)) == pytest.approx(0.02 / np.sqrt(2), rel=0.03)
    assert np.sqrt(np.mean(phase[area] ** 2)) == pytest.approx(0.04 / np.sqrt(2), rel=0.03)
    assert np.isnan(amplitude[~area]).all()
    assert np.isnan(phase[~area]).all()
