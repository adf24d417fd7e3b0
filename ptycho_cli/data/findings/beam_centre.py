"""Place of the beam on the detector: at the centre, at the corners, or elsewhere."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ptycho_cli.data.findings.draft import Draft
from ptycho_cli.data.findings.finding import About
from ptycho_cli.errors import DataError

CONCENTRATED = 0.1  # first Fourier coefficient over the sum: less says nothing about a centre
OFF_CENTRE = 0.1  # of the frame's width: a beam further away than this is moved to the centre


ABOUT = {
    "zero-frequency": About(
        "frames with the zero frequency at the corners", "rolled to the centre",
        f"The centre of the light in the periodic frame is within {OFF_CENTRE:.0%} of the frame's width of a corner.",
    ),
    "beam-off-centre": About(
        "a beam elsewhere on the detector", "rolled to the centre by whole pixels",
        f"The centre of the light is more than {OFF_CENTRE:.0%} of the frame's width away from the middle and from the "
        "corners.",
    ),
}  # fmt: skip


def circular_centre(pattern: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Centre (y, x) of the light in a periodic frame, from the phase of the first Fourier coefficient of each axis.

    Args:
        pattern: Mean frame, ``(y, x)``, 0 where masked.

    Returns:
        Coordinates in ``[0, n)``, which unlike a centre of mass do not depend on where the frame begins; and the
        concentration of the light, from 0 for an even frame to 1 for a single pixel.
    """
    centre, concentration = [], 1.0
    for axis, n in enumerate(pattern.shape):
        profile = pattern.sum(axis=1 - axis)
        first = (profile * np.exp(2j * np.pi * np.arange(n) / n)).sum() / max(float(profile.sum()), 1e-12)
        centre.append(np.angle(first) * n / (2 * np.pi) % n)
        concentration = min(concentration, float(np.abs(first)))
    return np.array(centre), concentration


def check(draft: Draft) -> None:
    """Move the zero frequency to ``n // 2``.

    A frame is periodic in the far-field model, so rolling it is a phase ramp on the exit wave and loses nothing.
    """
    shape = np.array(draft.valid.shape)
    middle = shape // 2
    placed = draft.options.zero_frequency if draft.options.zero_frequency != "auto" else draft.raw.zero_frequency
    if draft.options.center is not None:
        _move(draft, middle - _stated_centre(draft))
        return
    if placed is not None:
        if placed == "corner":
            _move(draft, middle)
        return
    pattern = draft.of_pixels.total / len(draft.counts) * draft.valid
    centre, concentration = circular_centre(pattern)
    if concentration < CONCENTRATED:
        draft.notes.append("zero frequency taken to be at the center of the frames (data.zero_frequency).")
        return
    away = (centre - middle + shape / 2) % shape - shape / 2
    from_corner = (centre + shape / 2) % shape - shape / 2
    if np.all(np.abs(from_corner) <= OFF_CENTRE * shape):
        if draft.report(
            "zero-frequency", "fixed",
            "The light is at the corners of the frames; the zero frequency is moved to the centre.",
            setting="data.zero_frequency=center", evidence={"centre_y": centre[0], "centre_x": centre[1]},
        ):  # fmt: skip
            _move(draft, middle)
    elif np.all(np.abs(away) <= OFF_CENTRE * shape):
        draft.notes.append("zero frequency taken to be at the center, where the light is (data.zero_frequency).")
    elif draft.report(
        "beam-off-centre", "fixed",
        f"The beam is at (y, x) = ({centre[0]:.1f}, {centre[1]:.1f}), the centre of the frame at ({middle[0]}, "
        f"{middle[1]}); frames are shifted cyclically by whole pixels.",
        setting=f"data.center={middle[0]},{middle[1]}", evidence={"off_y": float(away[0]), "off_x": float(away[1])},
    ):  # fmt: skip
        _move(draft, -np.round(away).astype(int))


def _move(draft: Draft, move: NDArray[np.int64]) -> None:
    step = (int(move[0]), int(move[1]))
    if step == (0, 0):
        return
    draft.roll(step)


def _stated_centre(draft: Draft) -> NDArray[np.int64]:
    """The centre that the user states, in whole pixels."""
    try:
        y, x = (float(part) for part in str(draft.options.center).split(","))
    except ValueError:
        raise DataError(
            f"data.center is {draft.options.center!r}, expected two numbers.", hint="Write y,x, such as 63.5,64."
        ) from None
    height, width = draft.valid.shape
    if not (0 <= y < height and 0 <= x < width):
        raise DataError(
            f"data.center is {draft.options.center}, outside frames of {height} x {width} pixels.",
            hint="Pixels count from 0.",
        )
    return np.array([round(y), round(x)], dtype=np.int64)
