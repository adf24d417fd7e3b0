"""Benchmarks of the networks: beside physics alone, on frames that hardly overlap, and with other inputs."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmark_parts import harness
from benchmark_parts.harness import head, row

AUTOENCODER = ("--network", "autoencoder")
SINGLE_FRAMES = ("--group-size", "1", "--batch-size", "16", "--set", "physics.refine_probe=false", "--epochs", "2")
NETWORKS = {
    "`autoencoder`": AUTOENCODER,
    "`autoencoder`, trained on frames alone": (*AUTOENCODER, *SINGLE_FRAMES),
    "`unrolled`, 1 subset": ("--network-option", "subsets=1"),
}
COMPARED = (
    *("physics", "stages", "alpha", "polish", "cpu_s", "r_factor", "held_out_deviance"),
    *("half_frc_half_bit_nyquist", "complex_snr_db"),
)
PER_FRAME = ("diffraction", "scan_yx_px", "xcoords", "ycoords")


def compare(folder: Path) -> None:
    """The table of `ptycho compare` for the semi-synthetic star and for the measured one, for one seed."""
    for name, scan in {"star64": harness.STAR64, "star": harness.MEASURED_STAR}.items():
        run = str(folder / f"compared-{name}")
        harness.ptycho("train", scan, "-o", run)
        report, _ = harness.ptycho_json("compare", run, scan, "-o", f"{run}-out", "--polish", "16", "--uncertainty")
        head(name, *COMPARED[:-1], "SNR dB")
        for found in report["reconstructions"]:
            row(found["name"], *("" if found.get(key) is None else found[key] for key in COMPARED))
        for found in report["reconstructions"]:
            if found.get("ranking") and not found["polish"]:
                print(f"\n{found['name']}: {found['ranking']}")


def single(folder: Path) -> None:
    """Networks on the semi-synthetic star: all frames, 19 of them that hardly overlap, and these one by one."""
    sparse = str(folder / "alone.npz")
    _write_sparse(harness.STAR64, sparse, distance_px=38.0)
    head("network", "train CPU s", *2 * harness.QUALITY_HEADINGS, "one by one, SNR dB")
    flat: list[float] = []
    for number, (network, words) in enumerate(NETWORKS.items()):
        run = str(folder / f"single-{number}")
        cpu_s = harness.ptycho("train", harness.STAR64, "-o", run, *words)
        for suffix, options in (("", ()), (", untrained", ("--untrained",))):
            both = [
                harness.infer(run, scan, "-o", f"{run}.h5", "--force", *harness.UNPOLISHED, *options)
                for scan in (harness.STAR64, sparse)
            ]
            one, flat_one = _one_by_one(run, sparse, untrained=bool(options))
            row(network + suffix, "" if suffix else cpu_s, *harness.quality(both[0]), *harness.quality(both[1]), one)
            flat = [*harness.quality(both[0]["flat_object"]), *harness.quality(both[1]["flat_object"]), flat_one]
    row("flat object", "", *flat)


def inputs(folder: Path) -> None:
    """Inputs of the autoencoder: trained on one small simulated scan, used on another object of the instrument."""
    scan, other = str(folder / "scan.h5"), str(folder / "other.h5")
    harness.ptycho("simulate", "-o", scan, "--frames", "100", "--size", "32", "--seed", "3")
    harness.ptycho("simulate", "-o", other, "--frames", "200", "--size", "32", "--seed", "8")
    small = ("--group-size", "16", "--n-groups", "40", "--epochs", "4", "--set", "physics.refine_probe=false")
    head("options", *harness.QUALITY_HEADINGS, "R-factor")
    for number, options in enumerate(("input=physics", "input=physics channels=4", "input=amplitude")):
        run = str(folder / f"inputs-{number}")
        words = [word for option in ("width=8", *options.split()) for word in ("--network-option", option)]
        harness.ptycho("train", scan, "-o", run, *AUTOENCODER, *words, *small)
        scores = harness.infer(run, other, "-o", f"{run}.h5", *harness.UNPOLISHED)
        row(f"`{options}`", *(scores[name] for name in (*harness.QUALITY, "r_factor")))


def _one_by_one(run: str, scan: str, *, untrained: bool) -> tuple[float, float]:
    """Complex SNR of frames that are reconstructed each as a scan of its own, and of the flat object, dB.

    Errors are weighted by the intensity of the probe; each frame has one complex scale.
    """
    import ptycho_cli

    with np.load(scan) as file:
        arrays = dict(file)
    weight, truth, path = np.abs(arrays["probe"]) ** 2, arrays["object_true"], f"{run}-one.npz"
    size, power, errors = len(weight), 0.0, np.zeros(2)
    for frame, place in enumerate(arrays["scan_yx_px"]):
        np.savez(path, **{**arrays, **{name: arrays[name][frame : frame + 1] for name in PER_FRAME}})
        found = ptycho_cli.infer(run, path, untrained=untrained, polish=0).result.reconstruction
        corner = np.round(place - size / 2).astype(int)
        (y, x), (v, u) = corner + np.array(truth.shape) // 2, np.round(corner - found.object_origin_px).astype(int)
        true, patch = truth[y : y + size, x : x + size], found.object[v : v + size, u : u + size]
        power += float((weight * np.abs(true) ** 2).sum())
        for which, guess in enumerate((patch, np.ones_like(patch))):
            scale = (weight * guess.conj() * true).sum() / (weight * np.abs(guess) ** 2).sum()
            errors[which] += float((weight * np.abs(scale * guess - true) ** 2).sum())
    snr, flat = 10 * np.log10(power / errors)
    return float(snr), float(flat)


def _write_sparse(scan: str, path: str, *, distance_px: float) -> None:
    """Write a scan of those frames that are at least a distance apart, chosen greedily in their order."""
    with np.load(scan) as file:
        arrays = dict(file)
    places = arrays["scan_yx_px"]
    kept: list[int] = []
    for frame, place in enumerate(places):
        if all(np.hypot(*(place - places[other])) >= distance_px for other in kept):
            kept.append(frame)
    for name in PER_FRAME:
        arrays[name] = arrays[name][kept]
    np.savez(path, **arrays)
