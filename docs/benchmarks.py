"""Measure what docs/benchmarks.md states: ``python docs/benchmarks.py star64 star startup``.

Every figure comes from the program's own commands, run as a user runs them, on one thread. CPU
times are of whole processes with all their children, imports included, unless a column says otherwise.
"""

from __future__ import annotations

import csv
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

DATA = Path(os.environ.get("PTYCHO_TEST_DATA", Path(__file__).parents[1].parent / "shared" / "data"))
PTYCHO = str(Path(sys.executable).with_name("ptycho"))
ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
SEEDS = (0, 1, 2)


def run(*words: str) -> tuple[str, float]:
    """Run a command; return what it printed and its CPU seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(words, env=ONE_THREAD, capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(f"{' '.join(words)}\n{done.stderr}")
    return done.stdout, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def row(*cells: object) -> None:
    """Print one row of a table."""
    print(
        "| " + " | ".join(f"{cell:.3f}" if isinstance(cell, float) else str(cell) for cell in cells) + " |", flush=True
    )


def scored(words: tuple[str, ...]) -> dict[str, Any]:
    """Run ``ptycho infer --json`` and return its figures."""
    text, _ = run(PTYCHO, "infer", *words, "--json")
    figures: dict[str, Any] = json.loads(text)
    return figures


def star64(folder: Path) -> None:
    """Semi-synthetic star, 1e6 photons a frame: quality and time for three seeds."""
    scan = str(DATA / "star64" / "star64_train1024_1e6.npz")
    names = ("amplitude_ssim", "phase_ssim", "complex_snr_db", "reconstruction_cpu_s")
    row("seed", "what", "train CPU s", "amplitude SSIM", "phase SSIM", "SNR dB", "reconstruction CPU s")
    row(*["---"] * 7)
    for seed in SEEDS:
        where = str(folder / f"star64-{seed}")
        _, cpu = run(PTYCHO, "train", scan, "-o", where, "--seed", str(seed), "--quiet")
        for what, more in (("trained", ()), ("untrained", ("--untrained",)), ("polish 8", ("--polish", "8"))):
            figures = scored((where, scan, "-o", f"{where}-{what.replace(' ', '-')}.h5", *more))
            row(seed, what, cpu if what == "trained" else "", *(figures[name] for name in names))


def star(folder: Path) -> None:
    """The measured star, from the file's probe guess, for three seeds."""
    scan = str(DATA / "siemens_star" / "siemens_star_small.npz")
    references = DATA / "siemens_star" / "reference_recons.npz"
    places = [f"{references}:{name}_object_roi" for name in ("ptychi_lsqml30", "cdtools_adam30")]
    row("seed", "CPU s, all told", "R-factor", "phase correlation, LSQML", "phase correlation, cdtools")
    row(*["---"] * 5)
    for seed in SEEDS:
        where = str(folder / f"star-{seed}")
        _, train = run(PTYCHO, "train", scan, "-o", where, "--seed", str(seed), "--quiet")
        _, infer = run(PTYCHO, "infer", where, scan, "-o", f"{where}.h5", "--polish", "20", "--quiet")
        words = [word for place in places for word in ("--reference", place)]
        text, _ = run(PTYCHO, "evaluate", f"{where}.h5", "--data", scan, *words, "--json")
        figures = json.loads(text)
        row(seed, train + infer, figures["r_factor"], *(figures["phase_correlation"][place] for place in places))


def presets(folder: Path) -> None:
    """What presets cost and bring: the run's own reconstruction, beside the default's."""
    large = str(folder / "large.h5")
    run(PTYCHO, "simulate", "-o", large, "--frames", "4000", "--size", "32", "--photons", "1e6")
    scans = {
        "star64, 1e6 photons": (str(DATA / "star64" / "star64_train1024_1e6.npz"), ("", "quick", "quality")),
        "star64, 1e4 photons": (str(DATA / "star64" / "star64_low_1e4.npz"), ("", "low-dose")),
        "4000 simulated frames": (large, ("", "large-scan")),
    }
    row("scan", "preset", "train CPU s", "amplitude SSIM", "phase SSIM", "SNR dB")
    row(*["---"] * 6)
    for number, (name, (scan, chosen)) in enumerate(scans.items()):
        for preset in chosen:
            words = ("--preset", preset) if preset else ()
            text, cpu = run(PTYCHO, "train", scan, "-o", str(folder / f"preset-{number}{preset}"), "--json", *words)
            figures = json.loads(text)["trained"]
            row(name, preset or "none", cpu, *(figures[f] for f in ("amplitude_ssim", "phase_ssim", "complex_snr_db")))


def rates(folder: Path) -> None:
    """The learning rate of every optimizer step, against its closed form."""
    scan, where = str(DATA / "star64" / "star64_train1024_1e6.npz"), folder / "rates"
    options = ("--scheduler", "Exponential", "--accumulate-grad-batches", "4", "--epochs", "3", "--quiet")
    run(PTYCHO, "train", scan, "-o", str(where), *options)
    effective = json.loads((where / "run.json").read_text())["effective"]
    base = effective["learning_rates"]["network"]
    with (where / "metrics.csv").open() as file:
        found = [(int(line["step"]), float(line["learning_rate"])) for line in csv.DictReader(file)]
    per_epoch = effective["steps_per_epoch"]
    worst = max(abs(rate / (base * 0.95 ** ((step - 1) // per_epoch)) - 1) for step, rate in found)
    row("optimizer steps", "steps per epoch", "largest relative difference from 0.95^epoch")
    row(*["---"] * 3)
    row(len(found), per_epoch, f"{worst:.1e}")


def startup(folder: Path) -> None:
    """CPU time of commands that load no torch, against a typer program that prints hello."""
    hello = folder / "hello.py"
    hello.write_text(
        "import typer\n\n\ndef main(name: str = 'you') -> None:\n    print('hello', name)\n\n\ntyper.run(main)\n"
    )
    options = ("--scheduler", "Exponential", "--accumulate-grad-batches", "4")
    commands = {
        "typer hello": (sys.executable, str(hello)),
        "ptycho --help": (PTYCHO, "--help"),
        "ptycho inspect-config": (PTYCHO, "inspect-config"),
        "ptycho inspect-config --scheduler ...": (PTYCHO, "inspect-config", *options),
        "ptycho train --help": (PTYCHO, "train", "--help"),
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(15):
        for name, words in commands.items():
            times[name].append(run(*words)[1])
    row("command", "CPU ms", "times a typer hello")
    row(*["---"] * 3)
    for name, values in times.items():
        row(name, round(1000 * median(values)), round(median(values) / median(times["typer hello"]), 2))


AUTOENCODER = ("--network", "autoencoder")
ALONE = ("--group-size", "1", "--batch-size", "16", "--set", "physics.refine_probe=false", "--epochs", "2")
NETWORKS = {
    "`autoencoder`": AUTOENCODER,
    "`autoencoder`, raw amplitudes": (*AUTOENCODER, "--network-option", "input=amplitude"),
    "`autoencoder`, trained on frames alone": (*AUTOENCODER, *ALONE),
    "`unrolled`, 1 subset": ("--network-option", "subsets=1"),
}


def single(folder: Path) -> None:
    """Networks on the semi-synthetic star, used on all of its frames, and on 19 of them none of which overlap."""
    scan, alone = str(DATA / "star64" / "star64_train1024_1e6.npz"), str(folder / "alone.npz")
    _write_alone(scan, alone, distance_px=38.0)
    names = ("amplitude_ssim", "phase_ssim", "complex_snr_db")
    row("network", "train CPU s", *2 * ("amplitude SSIM", "phase SSIM", "SNR dB"), "R-factor")
    row(*["---"] * 9)
    flat: list[float] = []
    for number, (network, words) in enumerate(NETWORKS.items()):
        where = str(folder / f"single-{number}")
        _, cpu = run(PTYCHO, "train", scan, "-o", where, *words, "--quiet")
        for what, more in (("", ()), (", untrained", ("--untrained",))):
            every, few = (scored((where, name, "-o", f"{where}.h5", "--force", *more)) for name in (scan, alone))
            figures = [found[name] for found in (every, few) for name in names]
            row(network + what, "" if what else cpu, *figures, few["r_factor"])
            flat = [found["flat_object"][name] for found in (every, few) for name in names]
    row("flat object", "", *flat, "")


def _write_alone(scan: str, path: str, *, distance_px: float) -> None:
    """Frames of a scan that are at least so far apart, taken greedily in their order."""
    import numpy as np

    with np.load(scan) as file:
        arrays = dict(file)
    places = arrays["scan_yx_px"]
    kept: list[int] = []
    for frame, place in enumerate(places):
        if all(np.hypot(*(place - places[other])) >= distance_px for other in kept):
            kept.append(frame)
    for name in ("diffraction", "scan_yx_px", "xcoords", "ycoords"):
        arrays[name] = arrays[name][kept]
    np.savez(path, **arrays)


if __name__ == "__main__":
    known = {"star64": star64, "star": star, "single": single, "presets": presets, "rates": rates, "startup": startup}
    with tempfile.TemporaryDirectory(prefix="ptycho-benchmarks-") as temporary:
        for chosen in sys.argv[1:] or known:
            print(f"\n{known[chosen].__doc__}\n")
            known[chosen](Path(temporary))
