"""Faults named and false alarms of ``ptycho data check``, over random scans, and what trainings make of faults."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from benchmark_parts.fault_scans import MAKERS, good_file, good_scan
from benchmark_parts.harness import (
    DATA,
    MEASURED_STAR,
    PTYCHO,
    STAR64,
    STAR64_LOW,
    head,
    ptycho,
    ptycho_json,
    row,
    run,
)
from ptycho_cli.finding_ids import GEOMETRY_IDS

GOOD, TRIED_GOOD = 200, 12  # good scans, and those on which other geometries are tried as well
SEEDS, TRIED_SEEDS = 10, 4  # scans with each fault
OTHERS = DATA.parent / "cases" / "make_faults.py"  # faults that others chose, if it is there
MENDED = 1.5  # dB: a training that loses less than this by a fault has mended it
COUNTED = ("error", "warning", "fixed")
PATTERNS = {"texture": 32, "siemens": 48, "weak": 64}  # objects of the base scans of OTHERS, and their frames
# Base scans of trainings: object, frames, pixels along their side, photons, seed.
TRAINED = (("texture", 100, 32, "1e5", 7), ("siemens", 100, 32, "1e5", 12), ("weak", 100, 32, "1e6", 10),
           ("weak", 144, 48, "1e5", 8), ("texture", 144, 64, "1e6", 11))  # fmt: skip


def faults(folder: Path) -> None:
    """Faults named, and false alarms; writes docs/finding_counts.json, from which docs/data.md is generated."""
    from finding_pages import COUNTS

    named, examples = _named(folder)
    alarms = _alarms(folder)
    counts = {
        "good_scans": GOOD, "tried_good_scans": TRIED_GOOD, "alarms": dict(alarms), "named": named,
        "examples": examples,
    }  # fmt: skip
    COUNTS.write_text(json.dumps(counts, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    head("scans", "faults named", "false alarms (error, warning, fixed)")
    for label, ids in (
        ("cheap findings", set(MAKERS.values()) - set(GEOMETRY_IDS)),
        ("tried findings", set(GEOMETRY_IDS)),
    ):
        pairs = [named[make.__name__] for make, id in MAKERS.items() if id in ids]
        good = TRIED_GOOD if ids == set(GEOMETRY_IDS) else GOOD
        found = f"{sum(item[0] for item in pairs)} of {sum(item[1] for item in pairs)}"
        row(label, found, f"{sum(alarms[id] for id in ids)} on {good} good scans")
    for path in (MEASURED_STAR, STAR64, STAR64_LOW):
        if Path(path).is_file():
            row(Path(path).name, "", ", ".join(f"{i['id']} ({i['severity']})" for i in _check(Path(path), "--quick")))
    if OTHERS.is_file():
        row(f"{OTHERS.name}, seed 0", *_others(folder))


def _check(path: Path, *words: str) -> list[dict[str, Any]]:
    from finding_pages import checked

    found: list[dict[str, Any]] = checked(path, *words)["findings"]
    return found


def _named(folder: Path) -> tuple[dict[str, list[int]], dict[str, dict[str, Any]]]:
    """Number of scans of each fault in which it is named, and of all; and an example of those that take trials."""
    named: dict[str, list[int]] = {}
    examples: dict[str, dict[str, Any]] = {}
    for number, (make, id) in enumerate(MAKERS.items()):
        tried = id in GEOMETRY_IDS
        hits = []
        for seed in range(TRIED_SEEDS if tried else SEEDS):
            path = make(good_scan(1000 + seed), np.random.default_rng((seed, number)), folder)
            found = [item for item in _check(path, *([] if tried else ["--quick"])) if item["id"] == id]
            hits.append(bool(found))
            if tried and found:
                examples.setdefault(id, found[0])
        named[make.__name__] = [sum(hits), len(hits)]
        print(make.__name__, named[make.__name__], file=sys.stderr)
    return named, examples


def _alarms(folder: Path) -> Counter[str]:
    """Number of good scans on which each finding is reported."""
    found: Counter[str] = Counter()
    for seed in range(GOOD):
        path = good_file(good_scan(seed), np.random.default_rng(seed), folder)
        found.update({item["id"] for item in _check(path, *([] if seed < TRIED_GOOD else ["--quick"]))})
    return found


def _others(folder: Path) -> tuple[str, str]:
    """Faults named among at most three findings that are no notes, and alarms on the good scans."""
    right = faulty = alarms = 0
    for object_kind, size in PATTERNS.items():
        base, out = folder / f"{object_kind}.h5", folder / object_kind
        words = ("--object", object_kind, "--size", str(size), "--frames", "100", "--photons", "1e5")
        ptycho("simulate", "-o", str(base), *words, "--seed", "1", "--force")
        run(sys.executable, str(OTHERS), str(base), str(out))
        for name, case in json.loads((out / "faults.json").read_text()).items():
            quick = [] if case["expect"] in GEOMETRY_IDS else ["--quick"]
            ids = [item["id"] for item in _check(out / case["file"], *quick) if item["severity"] in COUNTED]
            if case["expect"] is None:
                alarms += len(ids)
                continue
            faulty += 1
            right += case["expect"] in ids and len(set(ids)) <= 3
            if case["expect"] not in ids:
                print(f"not named: {object_kind} {name}, expected {case['expect']}, found {ids}", file=sys.stderr)
    return f"{right} of {faulty}", f"{alarms} on its good scans"


def trained_faults(folder: Path) -> None:
    """`ptycho train` with the defaults on each scan of `make_faults.py`: those that it should mend, and the others."""
    if not OTHERS.is_file():
        sys.exit(f"{OTHERS}: not there")
    head("scan", "good scan, SNR dB", "mended faults, most that one loses, dB", "others: not explained, right reason")
    for object_kind, frames, size, photons, seed in TRAINED:
        name = f"{object_kind}, {size} px, {photons} photons"
        base, out = folder / "trained.h5", folder / f"trained-{object_kind}-{size}"
        words = ("--object", object_kind, "--size", str(size), "--frames", str(frames), "--photons", photons)
        ptycho("simulate", "-o", str(base), *words, "--seed", str(seed), "--force")
        run(sys.executable, str(OTHERS), str(base), str(out), "--seed", str(seed))
        row(name, *_trained(base, out))


def _trained(base: Path, folder: Path) -> tuple[str, str, str]:
    """The cells of a row of ``trained_faults``, for the scans in a folder that were made from a base scan."""
    cases = json.loads((folder / "faults.json").read_text())
    good, verdict = _train(folder / cases.pop("good_pixels")["file"], base)
    good_cell = f"{good:.1f}" if verdict["explained"] else f"{good:.1f}, not explained"
    del cases["good_metres"]
    losses, others, right = {}, 0, 0
    for name, case in cases.items():
        snr, verdict = _train(folder / case["file"], base)
        loss = good - snr
        if case["mend"]:
            losses[name] = loss
        elif case["expect"] is not None:
            others += 1
            named = not verdict["explained"] and case["expect"] in verdict["reasons"][:2]
            right += named or loss < MENDED
            if not named:
                print(f"explained: {base} {name}, {loss:.1f} dB lost, {verdict['reasons']}", file=sys.stderr)
    worst = max(losses, key=losses.__getitem__)
    return good_cell, f"{len(losses)}, {losses[worst]:.2f} ({worst})", f"{right} of {others}"


def _train(scan: Path, base: Path) -> tuple[float, dict[str, Any]]:
    """SNR in dB of a training with the defaults against the object of its base scan, and the verdict of the run."""
    folder = scan.with_suffix("")
    ptycho("train", str(scan), "-o", str(folder), "--no-report", "--force")
    found, _ = ptycho_json("evaluate", str(folder / "reconstruction.h5"), "--truth", str(base))
    verdict: dict[str, Any] = json.loads((folder / "run.json").read_text())["verdict"]
    return float(found["complex_snr_db"]), verdict


def doctor(folder: Path) -> None:
    """CPU seconds of `ptycho data check`, whole process, on 500 frames of 128 x 128."""
    base = folder / "large.h5"
    ptycho("simulate", "-o", str(base), "--frames", "500", "--size", "128", "--seed", "1", "--force")
    with h5py.File(base) as file:
        content = {
            "diffraction": file["counts"][()],
            "scan_yx_px": file["positions_px"][()],
            "probe": file["probe"][()],
        }
    scans = {
        "good": content,
        "good, no probe in the file": {name: content[name] for name in ("diffraction", "scan_yx_px")},
        "y axis of the positions reversed": content | {"scan_yx_px": content["scan_yx_px"] * [-1, 1]},
        "frames shuffled": content | {"scan_yx_px": np.random.default_rng(0).permutation(content["scan_yx_px"])},
    }
    head("scan", "--quick", "full")
    for name, arrays in scans.items():
        np.savez(folder / "large.npz", **arrays)
        words = (PTYCHO, "data", "check", str(folder / "large.npz"))
        row(name, *(f"{run(*words, *more)[1]:.1f}" for more in (("--quick",), ())))
