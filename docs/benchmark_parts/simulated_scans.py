"""Benchmarks on simulated scans: polish, dose, and defects of beam and detector."""

from __future__ import annotations

from pathlib import Path

from benchmark_parts import harness
from benchmark_parts.harness import head, row

SIMULATED = {  # options of simulate
    "`siemens`": (),
    "`texture`": ("--object", "texture"),
    "`weak`": ("--object", "weak"),
    "`siemens`, 3e5 photons": ("--photons", "3e5"),
    "`siemens`, twice the step": ("--step", "12.8"),
    "`siemens`, 128 x 128 px": ("--size", "128"),
}
ITERATIONS = (0, 4, 8, 16, 32)
DOSES = (("siemens", "3e4"), ("weak", "3e4"), ("siemens", "1e5"), ("weak", "1e5"))
SHORTER = (
    *("--preset", "low-dose", "--epochs", "6", "--n-groups", "60"),
    *("--group-size", "96", "--learning-rate", "3e-3"),
)
DEFECTS = {  # options of simulate
    "none": (),
    "intensities vary by 10 % rms": ("--intensity-jitter", "0.1"),
    "3 hot, 2 dead pixels": ("--hot-pixels", "3", "--dead-pixels", "2"),
    "0.5 photons of background": ("--background", "0.5"),
    "all of these": ("--intensity-jitter", "0.1", "--hot-pixels", "3", "--dead-pixels", "2", "--background", "0.5"),
}
KEEP_PIXELS = "data.mask_bad_pixels=false"
UNCORRECTED = ("physics.refine_intensity=never", "physics.background=0", KEEP_PIXELS)


def polish(folder: Path) -> None:
    """Simulated scans of 256 frames: what the network finds, and after some iterations of the physics alone."""
    head("scan", "train CPU s", *(f"polish {n}: SNR dB" for n in ITERATIONS), "untrained, polish 64")
    for number, (name, options) in enumerate(SIMULATED.items()):
        scan, run = str(folder / f"polish-{number}.h5"), str(folder / f"polish-{number}")
        harness.ptycho("simulate", "-o", scan, "--seed", "1", *options)
        cpu_s = harness.ptycho("train", scan, "-o", run)
        inferences = [("--polish", str(n)) for n in ITERATIONS] + [("--polish", "64", "--untrained")]
        found = [harness.infer(run, scan, "-o", f"{run}-out.h5", "--force", *words) for words in inferences]
        row(name, cpu_s, *(round(scores["complex_snr_db"], 1) for scores in found))


def dose(folder: Path) -> None:
    """Simulated scans of 256 frames at doses near the one below which a scan chooses ``low-dose``: both networks."""
    head("object", "photons a frame", "what", "train CPU s", *harness.QUALITY_HEADINGS)
    for sample, photons in DOSES:
        scan = str(folder / f"{sample}-{photons}.h5")
        harness.ptycho("simulate", "-o", scan, "--object", sample, "--photons", photons, "--seed", "1")
        for network, words in (("unrolled", ("--network", "unrolled")), ("refiner", SHORTER)):
            summary, cpu_s = harness.ptycho_json(
                "train", scan, "-o", str(folder / f"{sample}-{photons}-{network}"), "--compare-untrained", *words
            )
            for name in ("trained", "untrained"):
                time = cpu_s if name == "trained" else ""
                row(sample, photons, f"{network}, {name}", time, *harness.quality(summary[name]))


def defects(folder: Path) -> None:
    """Defects of beam and detector in a small simulated scan, corrected by default, and not."""
    head("defect", "what", "train CPU s", *harness.QUALITY_HEADINGS, "polish 16: SNR dB")
    for number, (defect, options) in enumerate(DEFECTS.items()):
        scan = str(folder / f"defects-{number}.h5")
        harness.ptycho("simulate", "-o", scan, "--frames", "144", "--size", "32", "--seed", "2", *options)
        for name, assignments in (("corrected", ()), ("not corrected", UNCORRECTED)):
            run = str(folder / f"defects-{number}-{len(assignments)}")
            cpu_s = harness.ptycho("train", scan, "-o", run, *harness.settings(*assignments))
            reading = harness.settings(KEEP_PIXELS) if KEEP_PIXELS in assignments else ()  # a run does not keep it
            plain = harness.infer(run, scan, "-o", f"{run}.h5", *harness.UNPOLISHED, *reading)
            polished = harness.infer(run, scan, "-o", f"{run}-polish.h5", "--polish", "16", *reading)
            row(defect, name, cpu_s, *harness.quality(plain), polished["complex_snr_db"])
