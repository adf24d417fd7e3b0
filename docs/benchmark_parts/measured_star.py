"""Benchmarks on the measured Siemens star, whose true object is unknown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark_parts.harness import DATA, MEASURED_STAR, SEEDS, head, ptycho, ptycho_json, row

REFERENCES = DATA / "siemens_star" / "reference_recons.npz"
POLISHES = ("0", "4")
RADII_PX = (45, 60, 75)  # of circles that determine the centre and the spokes
INNER_RING_PX = 36.0  # the hub ends at 33 px
SAMPLES = 720  # on a circle
HELD_OUT = ("r_factor", "held_out_deviance", "half_frc_half_bit_nyquist")
HELD_OUT_HEADINGS = ("R-factor", "held-out deviance", "FRC half-bit, Nyquist")

Image = NDArray[np.floating[Any]]


def star(folder: Path) -> None:
    """The measured star, from the file's probe guess: three seeds, and other numbers of modes than the data choose."""
    places = [f"{REFERENCES}:{name}_object_roi" for name in ("ptychi_lsqml30", "cdtools_adam30")]
    references = [word for place in places for word in ("--reference", place)]
    head(
        *("seed", "modes", "train CPU s", "polish", "infer CPU s", *HELD_OUT_HEADINGS),
        *("phase correlation, LSQML", "phase correlation, cdtools", "spoke modulation, rad"),
    )
    chosen = [(seed, "") for seed in SEEDS] + [(SEEDS[0], modes) for modes in ("1", "5")]
    for seed, modes in chosen:
        run, options = str(folder / f"star-{seed}{modes}"), ("--probe-modes", modes) if modes else ()
        train_s = ptycho("train", MEASURED_STAR, "-o", run, "--seed", str(seed), *options)
        for polish in POLISHES:
            words = ("infer", run, MEASURED_STAR, "-o", f"{run}.h5", "--polish", polish, "--force")
            infer_s = ptycho(*words)
            ptycho(*words, "--uncertainty")
            found, _ = ptycho_json("evaluate", f"{run}.h5", "--data", MEASURED_STAR, *references)
            row(
                *(seed, modes or "not asked for", train_s if polish == POLISHES[0] else "", polish, infer_s),
                *(found[name] for name in HELD_OUT),
                *(found["phase_correlation"][place] for place in places),
                modulation_of(f"{run}.h5"),
            )
    for place in places:
        row(place.rpartition(":")[2], *[""] * 9, modulation_of(place))


def transfer(folder: Path) -> None:
    """Trained on the top half of the measured star, the bottom half reconstructed, for three seeds."""
    from ptycho_cli.data.object_files import load_object
    from ptycho_cli.metrics import phase_correlation
    from ptycho_cli.registration import align

    with np.load(MEASURED_STAR) as stored:
        arrays = {name: stored[name] for name in ("diffraction", "scan_yx_px", "probe")}
    top = arrays["scan_yx_px"][:, 0] < np.median(arrays["scan_yx_px"][:, 0])
    for name, chosen in {"top": top, "bottom": ~top}.items():
        part = {key: value[chosen] if len(value) == len(top) else value for key, value in arrays.items()}
        np.savez(folder / f"{name}.npz", **part)
    head("seed", "polish", "phase correlation with the whole scan's", *HELD_OUT_HEADINGS)
    for seed in SEEDS:
        whole, half = str(folder / f"transfer-whole-{seed}"), str(folder / f"transfer-{seed}")
        ptycho("train", MEASURED_STAR, "-o", whole, "--seed", str(seed))
        ptycho("train", str(folder / "top.npz"), "-o", half, "--seed", str(seed))
        for polish in POLISHES:
            words = ("--polish", polish, "--force")
            ptycho("infer", whole, MEASURED_STAR, "-o", f"{whole}.h5", *words)
            bottom = str(folder / "bottom.npz")
            scores, _ = ptycho_json("infer", half, bottom, "-o", f"{half}.h5", "--uncertainty", *words)
            found, reference = load_object(f"{half}.h5"), load_object(f"{whole}.h5")
            offset = found.offset_on(reference)
            aligned = align(found.object, reference.object, coverage=found.coverage, offset_px=offset)
            row(seed, polish, phase_correlation(aligned), *(scores[name] for name in HELD_OUT))


def modulation_of(place: str) -> float:
    """Spoke modulation of a reconstruction at the inner ring, on the pixels of the one by cdtools."""
    from ptycho_cli.data.object_files import load_object
    from ptycho_cli.registration import align

    reference, found = load_object(f"{REFERENCES}:cdtools_adam30_object_roi"), load_object(place)
    aligned = align(found.object, reference.object, coverage=found.coverage)
    top, left = aligned.window[0].start, aligned.window[1].start
    centre, spokes = find_star(np.angle(reference.object / reference.object.mean()))
    phase = np.angle(aligned.object / reference.object.mean())
    return spoke_modulation(phase, (centre[0] - top, centre[1] - left), INNER_RING_PX, spokes)


def spoke_modulation(phase: Image, centre: tuple[float, float], radius_px: float, spokes: int) -> float:
    """Amplitude, in radians, of the angular harmonic of as many periods as there are spokes, on a circle."""
    from scipy.ndimage import map_coordinates

    angle = 2 * np.pi * np.arange(SAMPLES) / SAMPLES
    places = [centre[0] + radius_px * np.sin(angle), centre[1] + radius_px * np.cos(angle)]
    around = map_coordinates(phase, places, order=1)
    return float(2 * np.abs(np.mean((around - around.mean()) * np.exp(-1j * spokes * angle))))


def find_star(phase: Image) -> tuple[tuple[float, float], int]:
    """Find the centre (y, x) of a Siemens star and its number of spokes, which maximise the modulation."""
    middle, reach = np.array(phase.shape) / 2, min(phase.shape) / 8

    def strength(y: float, x: float, spokes: int) -> float:
        return sum(spoke_modulation(phase, (y, x), radius, spokes) for radius in RADII_PX)

    def best(centre: Any, reach: float, step: float, counts: range) -> tuple[float, float, float, int]:
        steps = np.arange(-reach, reach + step / 2, step)
        return max(
            (strength(centre[0] + y, centre[1] + x, n), centre[0] + y, centre[1] + x, n)
            for n in counts for y in steps for x in steps
        )  # fmt: skip

    _, y, x, spokes = best(middle, reach, 4.0, range(24, 49))
    _, y, x, _ = best((y, x), 4.0, 0.5, range(spokes, spokes + 1))
    return (float(y), float(x)), spokes
