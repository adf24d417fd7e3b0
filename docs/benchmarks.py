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

import numpy as np
from numpy.typing import NDArray

DATA = Path(os.environ.get("PTYCHO_TEST_DATA", Path(__file__).parents[1].parent / "shared" / "data"))
PTYCHO = str(Path(sys.executable).with_name("ptycho"))
ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
SEEDS = (0, 1, 2)
UNPOLISHED = ("--polish", "0")  # what the network alone finds
STAR_REFERENCES = DATA / "siemens_star" / "reference_recons.npz"
POLISHES = ("0", "4")  # of the measured star
STAR_RADII_PX = (45, 60, 75)  # circles that tell centre and spokes of the star
INNER_RING_PX = 36.0  # the hub ends at 33 px
SAMPLES = 720  # of a circle

Image = NDArray[np.floating[Any]]


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
        ways = {
            "trained": UNPOLISHED, "untrained": ("--untrained", *UNPOLISHED), "without flags": (),
            "polish 16": ("--polish", "16"),
        }  # fmt: skip
        for what, more in ways.items():
            figures = scored((where, scan, "-o", f"{where}-{what.replace(' ', '-')}.h5", *more))
            row(seed, what, cpu if what == "trained" else "", *(figures[name] for name in names))


POLISHED = {  # options of simulate
    "`siemens`": (),
    "`texture`": ("--object", "texture"),
    "`weak`": ("--object", "weak"),
    "`siemens`, 3e5 photons": ("--photons", "3e5"),
    "`siemens`, twice the step": ("--step", "12.8"),
    "`siemens`, 128 x 128 px": ("--size", "128"),
}
ITERATIONS = (0, 4, 8, 16, 32)


def polish(folder: Path) -> None:
    """Simulated scans of 256 frames: what the network finds, and after some iterations of the physics alone."""
    row("scan", "train CPU s", *(f"polish {n}: SNR dB" for n in ITERATIONS), "untrained, polish 64")
    row(*["---"] * (len(ITERATIONS) + 3))
    for number, (name, options) in enumerate(POLISHED.items()):
        scan, where = str(folder / f"polish-{number}.h5"), str(folder / f"polish-{number}")
        run(PTYCHO, "simulate", "-o", scan, "--seed", "1", "--quiet", *options)
        _, cpu = run(PTYCHO, "train", scan, "-o", where, "--quiet")
        ways = [("--polish", str(n)) for n in ITERATIONS] + [("--polish", "64", "--untrained")]
        found = [scored((where, scan, "-o", f"{where}-out.h5", "--force", *words)) for words in ways]
        row(name, cpu, *(round(figures["complex_snr_db"], 1) for figures in found))


POSITION_ERROR_PX = 2.0  # root mean square of the error's length


def start(folder: Path) -> None:
    """Semi-synthetic star, 1e6 photons a frame: no probe, another's guess of it, wrong positions; seed 0."""
    with np.load(DATA / "star64" / "star64_train1024_1e6.npz") as file:
        known = {name: file[name] for name in ("diffraction", "scan_yx_px", "probe", "object_true")}
    with np.load(DATA / "siemens_star" / "siemens_star_small.npz") as file:
        waves = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(file["probe"])))[32:96, 32:96]  # half as many pixels
    error = np.random.default_rng(5).normal(0, POSITION_ERROR_PX / np.sqrt(2), known["scan_yx_px"].shape)
    cases = {
        "known": known,
        "no probe": {name: field for name, field in known.items() if name != "probe"},
        "guess of the measured star": {**known, "probe": np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(waves)))},
        "positions 2 px off": {**known, "scan_yx_px": (known["scan_yx_px"] + error.clip(-5, 5)).astype(np.float32)},
    }
    row("start", "train CPU s", "amplitude SSIM", "phase SSIM", "SNR dB", "with polish 8: SNR dB")
    row(*["---"] * 6)
    for name, fields in cases.items():
        scan, where = str(folder / f"{name}.npz"), str(folder / f"start-{name}")
        np.savez(scan, **fields)
        words = ("--refine-positions",) if name.startswith("positions") else ()
        _, cpu = run(PTYCHO, "train", scan, "-o", where, *words, "--quiet")
        plain, polish = (scored((where, scan, "-o", f"{where}-{n}.h5", "--polish", str(n))) for n in (0, 8))
        names = ("amplitude_ssim", "phase_ssim", "complex_snr_db")
        row(name, cpu, *(plain[figure] for figure in names), polish["complex_snr_db"])


def lowdose(folder: Path) -> None:
    """Semi-synthetic star, 1e4 photons a frame, with ``--preset low-dose``: quality and time by seed."""
    scan = str(DATA / "star64" / "star64_low_1e4.npz")
    names = ("amplitude_ssim", "phase_ssim", "complex_snr_db", "deviance")
    row("seed", "what", "train CPU s", "amplitude SSIM", "phase SSIM", "SNR dB", "deviance")
    row(*["---"] * 7)
    for seed in SEEDS:
        words = ("--preset", "low-dose", "--seed", str(seed))
        text, cpu = run(PTYCHO, "train", scan, "-o", str(folder / f"low-{seed}"), *words, "--json")
        figures = json.loads(text)
        for what in ("trained", "untrained"):
            row(seed, what, cpu if what == "trained" else "", *(figures[what][name] for name in names))


SHORTER = (
    *("--preset", "low-dose", "--epochs", "6", "--n-groups", "60"),
    *("--group-size", "96", "--learning-rate", "3e-3"),
)
DOSES = (("siemens", "3e4"), ("weak", "3e4"), ("siemens", "1e5"), ("weak", "1e5"))


def dose(folder: Path) -> None:
    """Simulated scans of 256 frames at doses near the one below which a scan chooses ``low-dose``: both networks."""
    names = ("amplitude_ssim", "phase_ssim", "complex_snr_db")
    row("object", "photons a frame", "what", "train CPU s", "amplitude SSIM", "phase SSIM", "SNR dB")
    row(*["---"] * 7)
    for sample, photons in DOSES:
        scan = str(folder / f"{sample}-{photons}.h5")
        run(PTYCHO, "simulate", "-o", scan, "--object", sample, "--photons", photons, "--seed", "1", "--quiet")
        for network, words in (("unrolled", ("--network", "unrolled")), ("refiner", SHORTER)):
            text, cpu = run(
                PTYCHO, "train", scan, "-o", str(folder / f"{sample}-{photons}-{network}"), *words, "--json"
            )
            for what in ("trained", "untrained"):
                figures, spent = json.loads(text)[what], cpu if what == "trained" else ""
                row(sample, photons, f"{network}, {what}", spent, *(figures[name] for name in names))


def star(folder: Path) -> None:
    """The measured star, from the file's probe guess: three seeds, and other numbers of modes than the data choose."""
    scan = str(DATA / "siemens_star" / "siemens_star_small.npz")
    places = [f"{STAR_REFERENCES}:{name}_object_roi" for name in ("ptychi_lsqml30", "cdtools_adam30")]
    row(
        *("seed", "modes", "train CPU s", "polish", "infer CPU s", "R-factor", "held-out deviance"),
        *("FRC half-bit, Nyquist", "phase correlation, LSQML", "phase correlation, cdtools", "spoke modulation, rad"),
    )
    row(*["---"] * 11)
    chosen = [(seed, "") for seed in SEEDS] + [(SEEDS[0], modes) for modes in ("1", "5")]
    for seed, modes in chosen:
        where, asked = str(folder / f"star-{seed}{modes}"), ("--probe-modes", modes) if modes else ()
        _, train = run(PTYCHO, "train", scan, "-o", where, "--seed", str(seed), *asked, "--quiet")
        for polish in POLISHES:
            words = ("infer", where, scan, "-o", f"{where}.h5", "--polish", polish, "--quiet", "--force")
            _, infer = run(PTYCHO, *words)
            run(PTYCHO, *words, "--uncertainty")
            words = tuple(word for place in places for word in ("--reference", place))
            text, _ = run(PTYCHO, "evaluate", f"{where}.h5", "--data", scan, *words, "--json")
            found = json.loads(text)
            names = ("r_factor", "held_out_deviance", "half_frc_half_bit_nyquist")
            row(
                *(seed, modes or "not asked for", "" if polish != POLISHES[0] else train, polish, infer),
                *(found[name] for name in names),
                *(found["phase_correlation"][place] for place in places),
                star_modulation(f"{where}.h5"),
            )
    for place in places:
        row(place.rpartition(":")[2], *[""] * 9, star_modulation(place))


def star_modulation(place: str) -> float:
    """Spoke modulation of a reconstruction at the inner ring, on the pixels of cdtools' one."""
    from ptycho_cli.data.object_files import load_object
    from ptycho_cli.registration import align

    ground, found = load_object(f"{STAR_REFERENCES}:cdtools_adam30_object_roi"), load_object(place)
    aligned = align(found.object, ground.object, coverage=found.coverage)
    top, left = aligned.window[0].start, aligned.window[1].start
    centre, spokes = find_star(np.angle(ground.object / ground.object.mean()))
    phase = np.angle(aligned.object / ground.object.mean())
    return spoke_modulation(phase, (centre[0] - top, centre[1] - left), INNER_RING_PX, spokes)


def spoke_modulation(phase: Image, centre: tuple[float, float], radius_px: float, spokes: int) -> float:
    """Amplitude of the angular harmonic of as many periods as there are spokes, on a circle; radians."""
    from scipy.ndimage import map_coordinates

    turn = 2 * np.pi * np.arange(SAMPLES) / SAMPLES
    places = [centre[0] + radius_px * np.sin(turn), centre[1] + radius_px * np.cos(turn)]
    around = map_coordinates(phase, places, order=1)
    return float(2 * np.abs(np.mean((around - around.mean()) * np.exp(-1j * spokes * turn))))


def find_star(phase: Image) -> tuple[tuple[float, float], int]:
    """Centre (y, x) of a Siemens star and its number of spokes: where the modulation of three circles is largest."""
    middle, reach = np.array(phase.shape) / 2, min(phase.shape) / 8

    def strength(y: float, x: float, spokes: int) -> float:
        return sum(spoke_modulation(phase, (y, x), radius, spokes) for radius in STAR_RADII_PX)

    def best(centre: Any, reach: float, step: float, counts: range) -> tuple[float, float, float, int]:
        steps = np.arange(-reach, reach + step / 2, step)
        return max(
            (strength(centre[0] + y, centre[1] + x, n), centre[0] + y, centre[1] + x, n)
            for n in counts for y in steps for x in steps
        )  # fmt: skip

    _, y, x, spokes = best(middle, reach, 4.0, range(24, 49))
    _, y, x, _ = best((y, x), 4.0, 0.5, range(spokes, spokes + 1))
    return (float(y), float(x)), spokes


def transfer(folder: Path) -> None:
    """Trained on the top half of the measured star, the bottom half reconstructed, for three seeds."""
    from ptycho_cli.data.object_files import load_object
    from ptycho_cli.metrics import phase_correlation
    from ptycho_cli.registration import align

    source = DATA / "siemens_star" / "siemens_star_small.npz"
    with np.load(source) as stored:
        arrays = {name: stored[name] for name in ("diffraction", "scan_yx_px", "probe")}
    top = arrays["scan_yx_px"][:, 0] < np.median(arrays["scan_yx_px"][:, 0])
    halves = {"top": top, "bottom": ~top}
    for name, chosen in halves.items():
        part = {key: value[chosen] if len(value) == len(top) else value for key, value in arrays.items()}
        np.savez(folder / f"{name}.npz", **part)
    names = ("R-factor", "held-out deviance", "FRC half-bit, Nyquist")
    row("seed", "polish", "phase correlation with the whole scan's", *names)
    row(*["---"] * 6)
    for seed in SEEDS:
        whole, half = str(folder / f"transfer-whole-{seed}"), str(folder / f"transfer-{seed}")
        run(PTYCHO, "train", str(source), "-o", whole, "--seed", str(seed), "--quiet")
        run(PTYCHO, "train", str(folder / "top.npz"), "-o", half, "--seed", str(seed), "--quiet")
        for polish in POLISHES:
            more = ("--polish", polish, "--force")
            run(PTYCHO, "infer", whole, str(source), "-o", f"{whole}.h5", *more, "--quiet")
            words = ("infer", half, str(folder / "bottom.npz"), "-o", f"{half}.h5", "--uncertainty", *more)
            figures = json.loads(run(PTYCHO, *words, "--json")[0])
            found, ground = load_object(f"{half}.h5"), load_object(f"{whole}.h5")
            aligned = align(found.object, ground.object, coverage=found.coverage, offset_px=found.offset_on(ground))
            names = ("r_factor", "held_out_deviance", "half_frc_half_bit_nyquist")
            row(seed, polish, phase_correlation(aligned), *(figures[name] for name in names))


def fine_tune(folder: Path) -> None:
    """A run of the semi-synthetic star on another object of its instrument, without and with a tenth of a training."""
    first, other = str(DATA / "star64" / "star64_train1024_1e6.npz"), str(folder / "tuned-other.h5")
    words = ("simulate", "-o", other, "--probe-from", first, "--frames", "1024", "--scan", "random", "--step", "5")
    run(PTYCHO, *words, "--quiet")
    row("seed", "what", "optimizer steps", "train CPU s", "amplitude SSIM", "phase SSIM", "SNR dB")
    row(*["---"] * 7)
    for seed in SEEDS:
        begun = str(folder / f"tuned-first-{seed}")
        run(PTYCHO, "train", first, "-o", begun, "--seed", str(seed), "--quiet")
        kinds = {
            "trained on the other": (), "a tenth, from the run": ("--init-from", begun),
            "a tenth, from nothing": ("--epochs", "1", "--n-groups", "26"),
        }  # fmt: skip
        _tell(
            seed,
            "the run itself",
            "0",
            0.0,
            scored((begun, other, "-o", str(folder / f"tuned-{seed}.h5"), *UNPOLISHED)),
        )
        for number, (what, more) in enumerate(kinds.items()):
            where = str(folder / f"tuned-{seed}-{number}")
            text, cpu = run(PTYCHO, "train", other, "-o", where, "--seed", str(seed), *more, "--json")
            summary = json.loads(text)
            _tell(seed, what, summary["optimizer_steps"], cpu, summary["trained"])


def _tell(seed: int, what: str, steps: object, cpu: float, figures: dict[str, Any]) -> None:
    row(seed, what, steps, cpu, *(figures[name] for name in ("amplitude_ssim", "phase_ssim", "complex_snr_db")))


def compared(folder: Path) -> None:
    """What `ptycho compare` prints of the semi-synthetic star and of the measured one, for one seed."""
    scans = {
        "star64": DATA / "star64" / "star64_train1024_1e6.npz",
        "star": DATA / "siemens_star" / "siemens_star_small.npz",
    }
    names = ("physics", "stages", "alpha", "polish", "cpu_s", "r_factor", "held_out_deviance")
    names = (*names, "half_frc_half_bit_nyquist")
    for name, scan in scans.items():
        where = str(folder / f"compared-{name}")
        run(PTYCHO, "train", str(scan), "-o", where, "--quiet")
        words = ("--polish", "16", "--uncertainty", "--json")
        text, _ = run(PTYCHO, "compare", where, str(scan), "-o", f"{where}-out", *words)
        row(name, *names, "SNR dB")
        row(*["---"] * (len(names) + 2))
        for found in json.loads(text)["reconstructions"]:
            row(found["name"], *("" if found.get(key) is None else found[key] for key in (*names, "complex_snr_db")))
        for found in json.loads(text)["reconstructions"]:
            if found.get("beaten") and not found["polish"]:
                print(f"\n{found['name']}: {found['beaten']}")


def presets(folder: Path) -> None:
    """What presets cost and bring: the run's own reconstruction, beside the default's."""
    large = str(folder / "large.h5")
    run(PTYCHO, "simulate", "-o", large, "--frames", "4000", "--size", "32", "--photons", "1e6")
    scans = {
        "star64, 1e6 photons": (str(DATA / "star64" / "star64_train1024_1e6.npz"), ("", "quick", "quality")),
        "star64, 1e4 photons": (str(DATA / "star64" / "star64_low_1e4.npz"), ("",)),
        "4000 simulated frames": (large, ("", "large-scan")),
    }
    row("scan", "preset", "train CPU s", "amplitude SSIM", "phase SSIM", "SNR dB")
    row(*["---"] * 6)
    for number, (name, (scan, chosen)) in enumerate(scans.items()):
        for preset in chosen:
            words = ("--preset", preset) if preset else ()
            text, cpu = run(PTYCHO, "train", scan, "-o", str(folder / f"preset-{number}{preset}"), "--json", *words)
            summary = json.loads(text)
            figures = summary.get("trained_polished", summary["trained"])
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


SETTINGS_FILES = {
    "a.yaml": "training:\n  epochs: 3\n  batch_size: 2\nscheduler:\n  name: Exponential\n",
    "b.yaml": "training:\n  seed: 3\noptimizer:\n  weight_decay: 0.1\n",
    "c.yaml": "scheduler:\n  options:\n    gamma: 0.9\noptimizer:\n  learning_rate: 1e-3\n",
}
TWENTY = (
    "--set training.gradient_clip_val=1 --set data.group_size=32 --set physics.alpha=1"
    " --set execution.precision=64-true --set execution.num_workers=2 --set physics.probe_warmup=3"
    " --epochs 9 --batch-size 4 --seed 7"
    " --learning-rate 1e-3 --scheduler Exponential --scheduler-option gamma=0.8 --accumulate-grad-batches 2"
    " --loss amplitude --devices 1 --accelerator cpu --no-deterministic --logger none --checkpoint-save-top-k 3"
    " --n-groups 100"
)


def startup(folder: Path) -> None:
    """CPU time of commands that load no torch, against a typer program that prints hello."""
    hello = folder / "hello.py"
    hello.write_text(
        "import typer\n\n\ndef main(name: str = 'you') -> None:\n    print('hello', name)\n\n\ntyper.run(main)\n"
    )
    for name, text in SETTINGS_FILES.items():
        (folder / name).write_text(text)
    files = [word for name in SETTINGS_FILES for word in ("-c", str(folder / name))]
    complete = ("_PTYCHO_COMPLETE=complete_bash", "COMP_WORDS=ptycho train --sch", "COMP_CWORD=2", PTYCHO)
    commands = {
        "typer hello": (sys.executable, str(hello)),
        "ptycho --help": (PTYCHO, "--help"),
        "ptycho inspect-config": (PTYCHO, "inspect-config"),
        "the same, three files and twenty settings": (PTYCHO, "inspect-config", *files, *TWENTY.split()),
        "ptycho train --help": (PTYCHO, "train", "--help"),
        "completion of ptycho train --sch": ("env", *complete),
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
    "`autoencoder`, trained on frames alone": (*AUTOENCODER, *ALONE),
    "`unrolled`, 1 subset": ("--network-option", "subsets=1"),
}


def single(folder: Path) -> None:
    """Networks on the semi-synthetic star: all frames, 19 of them that hardly overlap, and these one by one."""
    scan, alone = str(DATA / "star64" / "star64_train1024_1e6.npz"), str(folder / "alone.npz")
    _write_alone(scan, alone, distance_px=38.0)
    names = ("amplitude_ssim", "phase_ssim", "complex_snr_db")
    row("network", "train CPU s", *2 * ("amplitude SSIM", "phase SSIM", "SNR dB"), "one by one, SNR dB")
    row(*["---"] * 9)
    flat: list[float] = []
    for number, (network, words) in enumerate(NETWORKS.items()):
        where = str(folder / f"single-{number}")
        _, cpu = run(PTYCHO, "train", scan, "-o", where, *words, "--quiet")
        for what, more in (("", ()), (", untrained", ("--untrained",))):
            every, few = (
                scored((where, name, "-o", f"{where}.h5", "--force", *UNPOLISHED, *more)) for name in (scan, alone)
            )
            one, flat_one = _one_by_one(where, alone, untrained=bool(more))
            row(network + what, "" if what else cpu, *(found[name] for found in (every, few) for name in names), one)
            flat = [*(found["flat_object"][name] for found in (every, few) for name in names), flat_one]
    row("flat object", "", *flat)


def _one_by_one(where: str, scan: str, *, untrained: bool) -> tuple[float, float]:
    """Complex SNR of frames that are reconstructed each as a scan of its own, and of the flat object, dB.

    Errors are weighted by the probe's light; each frame has one complex scale.
    """
    import numpy as np

    import ptycho_cli

    with np.load(scan) as file:
        arrays = dict(file)
    light, truth, path = np.abs(arrays["probe"]) ** 2, arrays["object_true"], f"{where}-one.npz"
    size, power, errors = len(light), 0.0, np.zeros(2)
    for frame, place in enumerate(arrays["scan_yx_px"]):
        np.savez(path, **{**arrays, **{name: arrays[name][frame : frame + 1] for name in PER_FRAME}})
        found = ptycho_cli.infer(where, path, untrained=untrained, polish=0).result.reconstruction
        corner = np.round(place - size / 2).astype(int)
        (y, x), (v, u) = corner + np.array(truth.shape) // 2, np.round(corner - found.object_origin_px).astype(int)
        true, patch = truth[y : y + size, x : x + size], found.object[v : v + size, u : u + size]
        power += float((light * np.abs(true) ** 2).sum())
        for which, guess in enumerate((patch, np.ones_like(patch))):
            scale = (light * guess.conj() * true).sum() / (light * np.abs(guess) ** 2).sum()
            errors[which] += float((light * np.abs(scale * guess - true) ** 2).sum())
    snr, flat = 10 * np.log10(power / errors)
    return float(snr), float(flat)


PER_FRAME = ("diffraction", "scan_yx_px", "xcoords", "ycoords")


def inputs(folder: Path) -> None:
    """What the autoencoder sees: trained on one small simulated scan, used on another object of the instrument."""
    scan, other = str(folder / "scan.h5"), str(folder / "other.h5")
    run(PTYCHO, "simulate", "-o", scan, "--frames", "100", "--size", "32", "--seed", "3", "--quiet")
    run(PTYCHO, "simulate", "-o", other, "--frames", "200", "--size", "32", "--seed", "8", "--quiet")
    small = ("--group-size", "16", "--n-groups", "40", "--epochs", "4", "--set", "physics.refine_probe=false")
    sizes = ("--network-option", "width=8")
    row("options", "amplitude SSIM", "phase SSIM", "SNR dB", "R-factor")
    row(*["---"] * 5)
    for number, options in enumerate(("input=physics", "input=physics channels=4", "input=amplitude")):
        where = str(folder / f"inputs-{number}")
        words = [word for option in options.split() for word in ("--network-option", option)]
        run(PTYCHO, "train", scan, "-o", where, *AUTOENCODER, *sizes, *words, *small, "--quiet")
        found = scored((where, other, "-o", f"{where}.h5", *UNPOLISHED))
        row(f"`{options}`", *(found[name] for name in ("amplitude_ssim", "phase_ssim", "complex_snr_db", "r_factor")))


DEFECTS = {  # options of simulate
    "none": (),
    "intensities vary by 10 % rms": ("--intensity-jitter", "0.1"),
    "3 hot, 2 dead pixels": ("--hot-pixels", "3", "--dead-pixels", "2"),
    "0.5 photons of background": ("--background", "0.5"),
    "all of these": ("--intensity-jitter", "0.1", "--hot-pixels", "3", "--dead-pixels", "2", "--background", "0.5"),
}
UNCORRECTED = ("physics.refine_intensity=never", "physics.background=0", "data.mask_bad_pixels=false")


def defects(folder: Path) -> None:
    """What beam and detector do to a small simulated scan, corrected by default, and not."""
    row("defect", "what", "train CPU s", "amplitude SSIM", "phase SSIM", "SNR dB", "polish 16: SNR dB")
    row(*["---"] * 7)
    for number, (defect, options) in enumerate(DEFECTS.items()):
        scan = str(folder / f"defects-{number}.h5")
        run(PTYCHO, "simulate", "-o", scan, "--frames", "144", "--size", "32", "--seed", "2", "--quiet", *options)
        for what, keys in (("corrected", ()), ("not corrected", UNCORRECTED)):
            where = str(folder / f"defects-{number}-{len(keys)}")
            words = [word for key in keys for word in ("--set", key)]
            _, cpu = run(PTYCHO, "train", scan, "-o", where, *words, "--quiet")
            kept = [word for key in keys if key.startswith("data.") for word in ("--set", key)]
            plain = scored((where, scan, "-o", f"{where}.h5", *UNPOLISHED, *kept))
            polish = scored((where, scan, "-o", f"{where}-polish.h5", "--polish", "16", *kept))
            names = ("amplitude_ssim", "phase_ssim", "complex_snr_db")
            row(defect, what, cpu, *(plain[name] for name in names), polish["complex_snr_db"])


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
    for name in PER_FRAME:
        arrays[name] = arrays[name][kept]
    np.savez(path, **arrays)


if __name__ == "__main__":
    known = {
        "star64": star64, "polish": polish, "start": start, "lowdose": lowdose, "dose": dose, "star": star,
        "transfer": transfer, "fine-tune": fine_tune,
        "compare": compared, "single": single, "inputs": inputs, "presets": presets, "defects": defects,
        "rates": rates, "startup": startup,
    }  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="ptycho-benchmarks-") as temporary:
        for chosen in sys.argv[1:] or known:
            print(f"\n{known[chosen].__doc__}\n")
            known[chosen](Path(temporary))
