"""Benchmarks of the weights that come with the program, on scans that they were not trained on."""

from __future__ import annotations

from pathlib import Path

from benchmark_parts import harness
from benchmark_parts.harness import MEASURED_STAR, STAR64, STAR64_LOW, head, row

OBJECTS, DOSES = ("siemens", "texture", "weak"), ("1e4", "1e5", "1e6")
LARGE = ("--size", "128", "--frames", "144")


def weights(folder: Path) -> None:
    """Reconstruction without training: physics alone, and shipped weights where held-out frames prefer them."""
    scans = {"star64, 1e6": STAR64, "star64, 1e4": STAR64_LOW, "measured star": MEASURED_STAR}
    made = {f"`{name}`, {dose}": ("--object", name, "--photons", dose) for name in OBJECTS for dose in DOSES}
    made |= {"`siemens`, 128 px, 1e5": ("--photons", "1e5", *LARGE), "electrons": ("--preset", "electron")}
    for number, (name, options) in enumerate(made.items()):
        scans[name] = str(folder / f"weights-{number}.h5")
        harness.ptycho("simulate", "-o", scans[name], "--seed", "5", *options)
    head("scan", "weights", "chosen", "CPU s", "SNR dB", "R-factor", "held-out deviance, times photon noise")
    for name, scan in scans.items():
        for wanted in ("none", "auto"):
            words = (scan, "-o", str(folder / "weights-out.h5"), "--weights", wanted, "--force")
            found, cpu_s = harness.ptycho_json("reconstruct", *words)
            notes = [line for line in found["notes"] if line.startswith("Reconstructed")]
            chosen = "weights" if any("shipped weights of" in line.split(":")[0] for line in notes) else "physics"
            snr, ratio = found.get("complex_snr_db"), found["verdict"]["ratio"]
            shown = "" if snr is None else f"{snr:.1f}"
            row(name, wanted, chosen, f"{cpu_s:.0f}", shown, float(found["r_factor"]), f"{ratio:.3f}")
