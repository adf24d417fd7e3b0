"""Benchmarks on the semi-synthetic star, and on other objects of its instrument."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmark_parts import harness
from benchmark_parts.harness import head, row

POSITION_ERROR_PX = 2.0  # root mean square of the length of the error


def star64(folder: Path) -> None:
    """Semi-synthetic star, 1e6 photons a frame: quality and time for three seeds."""
    head("seed", "what", "train CPU s", *harness.QUALITY_HEADINGS, "reconstruction CPU s")
    for seed in harness.SEEDS:
        run = str(folder / f"star64-{seed}")
        cpu_s = harness.ptycho("train", harness.STAR64, "-o", run, "--seed", str(seed))
        options = {
            "trained": harness.UNPOLISHED, "untrained": ("--untrained", *harness.UNPOLISHED), "without flags": (),
            "polish 16": ("--polish", "16"),
        }  # fmt: skip
        for name, words in options.items():
            scores = harness.infer(run, harness.STAR64, "-o", f"{run}-{name.replace(' ', '-')}.h5", *words)
            row(
                seed, name, cpu_s if name == "trained" else "", *harness.quality(scores), scores["reconstruction_cpu_s"]
            )


def start(folder: Path) -> None:
    """Semi-synthetic star, 1e6 photons a frame: no probe, another's guess of it, wrong positions; seed 0."""
    with np.load(harness.STAR64) as file:
        known = {name: file[name] for name in ("diffraction", "scan_yx_px", "probe", "object_true")}
    with np.load(harness.MEASURED_STAR) as file:
        waves = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(file["probe"])))[32:96, 32:96]  # half as many pixels
    error = np.random.default_rng(5).normal(0, POSITION_ERROR_PX / np.sqrt(2), known["scan_yx_px"].shape)
    cases = {
        "known": known,
        "no probe": {name: field for name, field in known.items() if name != "probe"},
        "guess of the measured star": {**known, "probe": np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(waves)))},
        "positions 2 px off": {**known, "scan_yx_px": (known["scan_yx_px"] + error.clip(-5, 5)).astype(np.float32)},
    }
    head("start", "train CPU s", *harness.QUALITY_HEADINGS, "with polish 8: SNR dB")
    for name, fields in cases.items():
        scan, run = str(folder / f"{name}.npz"), str(folder / f"start-{name}")
        np.savez(scan, **fields)
        words = ("--refine-positions",) if name.startswith("positions") else ()
        cpu_s = harness.ptycho("train", scan, "-o", run, *words)
        plain, polished = (harness.infer(run, scan, "-o", f"{run}-{n}.h5", "--polish", str(n)) for n in (0, 8))
        row(name, cpu_s, *harness.quality(plain), polished["complex_snr_db"])


def lowdose(folder: Path) -> None:
    """Semi-synthetic star, 1e4 photons a frame, with ``--preset low-dose``: quality and time by seed."""
    head("seed", "what", "train CPU s", *harness.QUALITY_HEADINGS, "deviance")
    for seed in harness.SEEDS:
        run = str(folder / f"low-{seed}")
        summary, cpu_s = harness.ptycho_json(
            "train", harness.STAR64_LOW, "-o", run, "--preset", "low-dose", "--seed", str(seed), "--compare-untrained"
        )
        for name in ("trained", "untrained"):
            row(
                seed,
                name,
                cpu_s if name == "trained" else "",
                *harness.quality(summary[name]),
                summary[name]["deviance"],
            )


def fine_tune(folder: Path) -> None:
    """A run of the semi-synthetic star on another object of its instrument, without and with a tenth of a training."""
    other = str(folder / "tuned-other.h5")
    harness.ptycho(
        "simulate", "-o", other, "--probe-from", harness.STAR64, "--frames", "1024", "--scan", "random", "--step", "5"
    )
    head("seed", "what", "optimizer steps", "train CPU s", *harness.QUALITY_HEADINGS)
    for seed in harness.SEEDS:
        first = str(folder / f"tuned-first-{seed}")
        harness.ptycho("train", harness.STAR64, "-o", first, "--seed", str(seed))
        scores = harness.infer(first, other, "-o", str(folder / f"tuned-{seed}.h5"), *harness.UNPOLISHED)
        row(seed, "the run itself", "0", 0.0, *harness.quality(scores))
        trainings = {
            "trained on the other": (), "a tenth, from the run": ("--init-from", first),
            "a tenth, from nothing": ("--epochs", "1", "--n-groups", "26"),
        }  # fmt: skip
        for number, (name, words) in enumerate(trainings.items()):
            run = str(folder / f"tuned-{seed}-{number}")
            summary, cpu_s = harness.ptycho_json("train", other, "-o", run, "--seed", str(seed), *words)
            row(seed, name, summary["optimizer_steps"], cpu_s, *harness.quality(summary["trained"]))


def presets(folder: Path) -> None:
    """Cost and quality of the presets: the reconstruction that the training makes, beside that of the defaults."""
    large = str(folder / "large.h5")
    harness.ptycho("simulate", "-o", large, "--frames", "4000", "--size", "32", "--photons", "1e6")
    scans = {
        "star64, 1e6 photons": (harness.STAR64, ("", "quick", "quality")),
        "star64, 1e4 photons": (harness.STAR64_LOW, ("",)),
        "4000 simulated frames": (large, ("", "large-scan")),
    }
    head("scan", "preset", "train CPU s", *harness.QUALITY_HEADINGS)
    for number, (name, (scan, chosen)) in enumerate(scans.items()):
        for preset in chosen:
            words = ("--preset", preset) if preset else ()
            summary, cpu_s = harness.ptycho_json("train", scan, "-o", str(folder / f"preset-{number}{preset}"), *words)
            row(name, preset or "none", cpu_s, *harness.quality(summary.get("trained_polished", summary["trained"])))
