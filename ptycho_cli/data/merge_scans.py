"""Several scans of one instrument and sample as one scan."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from ptycho_cli.data.count_blocks import JoinedCounts
from ptycho_cli.data.scan import Scan
from ptycho_cli.data.scan_contents import positions_in_file
from ptycho_cli.errors import DataError

_SAME = 1e-3  # relative difference of numbers that are equal
_SAME_PROBE = 0.9  # of the power of one probe lies in the other

# What must be equal, and its unit for messages.
_NUMBERS = {"object_pixel_m": "object pixel", "wavelength_m": "wavelength", "distance_m": "distance to the detector"}


def merge_scans(scans: Sequence[Scan]) -> Scan:
    """Join scans in one, with positions in the coordinates of their files, which must be those of one stage.

    The result is for writing: its counts are ``JoinedCounts``. A pixel that is masked in one is masked in all. The
    probe is the first one's, with the mean photons of all frames. Frames are counted anew, in the order of the scans.

    Args:
        scans: At least two scans.

    Raises:
        DataError: If they differ in frame size, object pixel, wavelength, distance, radiation or probe, or if one is
            given twice.
    """
    first = scans[0]
    for other in scans[1:]:
        for what, mine, theirs in _differences(first, other):
            raise DataError(
                f"{other.source}: {what} is {theirs}, but in {first.source} it is {mine}; expected scans of one "
                "instrument.",
                hint="Leave the file out, or correct the number with a data setting if a file is wrong.",
            )
    _refuse_repeated(scans)
    mask = np.logical_and.reduce([scan.mask for scan in scans])
    truths = [scan for scan in scans if scan.truth is not None]
    same_truth = len(truths) == len(scans) and all(_same_truth(first, other) for other in scans[1:])
    return Scan(
        source=", ".join(scan.source for scan in scans),
        counts=cast(Any, JoinedCounts(scans, mask)),
        positions_px=np.concatenate([positions_in_file(scan) for scan in scans]),
        mask=mask,
        probe=_probe(scans),
        truth=first.truth if same_truth else None,
        truth_origin_px=first.truth_origin_px if same_truth else None,
        radiation=first.radiation,
        near_field=next((scan.near_field for scan in scans if scan.near_field), None),
        assumptions=_assumptions(scans),
        object_pixel_m=first.object_pixel_m,
        wavelength_m=first.wavelength_m,
        distance_m=first.distance_m,
    )


def _differences(first: Scan, other: Scan) -> Iterator[tuple[str, str, str]]:
    """What two scans must share and do not: its name, and how it is in each."""
    if first.n_pixels != other.n_pixels:
        yield "the size of frames", f"{first.n_pixels} px", f"{other.n_pixels} px"
    for name, called in _NUMBERS.items():
        mine, theirs = getattr(first, name), getattr(other, name)
        if mine != theirs and (mine is None or theirs is None or abs(theirs / mine - 1) > _SAME):
            yield f"the {called}", _metres(mine), _metres(theirs)
    if first.radiation != other.radiation:
        yield "the radiation", str(first.radiation or "unknown"), str(other.radiation or "unknown")
    if (
        first.probe is not None
        and other.probe is not None
        and (share := _shared(first.probe, other.probe)) < _SAME_PROBE
    ):
        yield "the probe", "another one", f"equal to {share:.0%}"


def _metres(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.4g} m"


def _shared(first: NDArray[np.complex64], other: NDArray[np.complex64]) -> float:
    """Share of the power of a probe's modes that lies in those of another, whatever their scale and phase."""
    mine, theirs = (np.reshape(probe, (len(probe), -1)).T.astype(np.complex128) for probe in (first, other))
    basis, _ = np.linalg.qr(theirs)
    return float(np.sum(np.abs(basis.conj().T @ mine) ** 2) / np.sum(np.abs(mine) ** 2))


def _refuse_repeated(scans: Sequence[Scan]) -> None:
    """Refuse a scan that was given twice, which held-out frames would not reveal."""
    seen: dict[bytes, Scan] = {}
    for scan in scans:
        first = np.asarray(scan.counts[:1], dtype=np.float32), positions_in_file(scan)[:1]
        same = seen.setdefault(b"".join(values.tobytes() for values in first), scan)
        if same is not scan:
            raise DataError(
                f"{scan.source}: its first frame and position are those of {same.source}.", hint="Name each scan once."
            )


def _same_truth(first: Scan, other: Scan) -> bool:
    assert first.truth is not None
    assert other.truth is not None
    return first.truth_origin_px == other.truth_origin_px and np.array_equal(first.truth, other.truth)


def _probe(scans: Sequence[Scan]) -> NDArray[np.complex64] | None:
    """The first probe, scaled to the mean of the photons of all probes, weighted by frames; None if there is none."""
    known = [scan for scan in scans if scan.probe is not None]
    if not known:
        return None
    powers = [float(np.sum(np.abs(cast(Any, scan.probe)) ** 2)) for scan in known]
    mean = np.average(powers, weights=[scan.n_frames for scan in known])
    return np.asarray(cast(Any, known[0].probe) * np.sqrt(mean / powers[0]), dtype=np.complex64)


def _assumptions(scans: Sequence[Scan]) -> tuple[str, ...]:
    """Notes of the merge."""
    notes = []
    if any((scan.mask != scans[0].mask).any() for scan in scans):
        notes.append("detector pixels that are masked in one scan are masked in all.")
    return tuple(notes)
