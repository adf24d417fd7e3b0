"""Run commands of the program, and print tables of what they report."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

DATA = Path(os.environ.get("PTYCHO_TEST_DATA", Path(__file__).parents[2].parent / "shared" / "data"))
STAR64 = str(DATA / "star64" / "star64_train1024_1e6.npz")  # semi-synthetic star, 1e6 photons a frame
STAR64_LOW = str(DATA / "star64" / "star64_low_1e4.npz")  # the same, 1e4 photons a frame
MEASURED_STAR = str(DATA / "siemens_star" / "siemens_star_small.npz")
PTYCHO = str(Path(sys.executable).with_name("ptycho"))
ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}

SEEDS = (0, 1, 2)
UNPOLISHED = ("--polish", "0")  # the network alone
QUALITY = ("amplitude_ssim", "phase_ssim", "complex_snr_db")  # scores in JSON
QUALITY_HEADINGS = ("amplitude SSIM", "phase SSIM", "SNR dB")


def run(*words: str, environment: Mapping[str, str] | None = None) -> tuple[str, float]:
    """Run a command, with changes of the environment; return its standard output and its CPU seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(words, env={**ONE_THREAD, **(environment or {})}, capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(f"{' '.join(words)}\n{done.stderr}")
    return done.stdout, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def ptycho(*words: str) -> float:
    """Run a command of the program without output; return its CPU seconds."""
    return run(PTYCHO, *words, "--quiet")[1]


def ptycho_json(*words: str) -> tuple[dict[str, Any], float]:
    """Run a command of the program with ``--json``; return what it reports and its CPU seconds."""
    text, cpu_s = run(PTYCHO, *words, "--json")
    report: dict[str, Any] = json.loads(text)
    return report, cpu_s


def infer(*words: str) -> dict[str, Any]:
    """Run ``ptycho infer``; return its scores."""
    return ptycho_json("infer", *words)[0]


def head(*titles: str) -> None:
    """Print the head of a table."""
    row(*titles)
    row(*["---"] * len(titles))


def row(*cells: object) -> None:
    """Print a row of a table."""
    print(
        "| " + " | ".join(f"{cell:.3f}" if isinstance(cell, float) else str(cell) for cell in cells) + " |", flush=True
    )


def quality(scores: Mapping[str, Any]) -> tuple[float, ...]:
    """The scores of the columns ``QUALITY_HEADINGS``."""
    return tuple(scores[name] for name in QUALITY)


def settings(*assignments: str) -> tuple[str, ...]:
    """Words of the command line that set ``KEY=VALUE`` each."""
    return tuple(word for assignment in assignments for word in ("--set", assignment))
