"""Reconstruction and comparison with resolved settings, with a trained run or without one; weights of networks.

torch is loaded inside the functions, after their first progress report.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptycho_cli.config.provenance import Resolved
from ptycho_cli.progress_callback import StageProgress
from ptycho_cli.run_weights import load_objective, network_of_run
from ptycho_cli.workflows import assemble, no_progress

if TYPE_CHECKING:
    from ptycho_cli.data.scan import Scan
    from ptycho_cli.extend.host import Host
    from ptycho_cli.inference.inference_run import Inferred
    from ptycho_cli.inference.scan_calibration import CalibratedScan
    from ptycho_cli.training.distributed import ProcessInfo


def infer_resolved(
    resolved: Resolved, host: Host, folder: Path, *,
    progress: StageProgress | None = None, process: ProcessInfo | None = None,
) -> tuple[Scan, Inferred]:  # fmt: skip
    """Reconstruct the scan that the settings name with the run in ``folder``, judge it, and write nothing.

    With several devices, each process computes with its share of the frames, and rank 0 judges.

    Args:
        resolved: The settings.
        host: The installed plugins.
        folder: Folder of the run.
        progress: Called with (stage, steps done, steps in all).
        process: Rank of this process; by default found in the environment.

    Returns:
        The scan, calibrated, and its reconstruction.
    """
    from ptycho_cli.training.distributed import joined, launched_process

    process = process or launched_process(resolved.config.execution)
    ready, index = _load_run(resolved, host, folder, progress or no_progress, process)
    from ptycho_cli.assembly.polish_rule import polish_rule, recorded_polish
    from ptycho_cli.inference.inference_run import infer
    from ptycho_cli.inference.scan_verdict import judged
    from ptycho_cli.physics.frame_share import ALONE, FrameShare
    from ptycho_cli.training.run_record import read_record, reconstructs_own_scan

    objective, scan, config, record = ready.objective, ready.scan, resolved.config, read_record(folder)
    rule = polish_rule(objective, config, scan, probe_fits=ready.probe_fits)
    polish = rule.choose(*recorded_polish(record))
    with joined(process, config.execution):
        share = FrameShare(process.rank, process.world_size) if process.world_size > 1 else ALONE
        found = infer(objective, config, scan, training_scan=index, polish=polish, share=share, progress=progress)
    if process.rank > 0:
        return scan, found
    notes = ready.notes if polish.note is None else (*ready.notes, polish.note)
    cpu_s, wall_s = found.cpu_s + ready.cpu_s, found.wall_s + ready.wall_s
    found = replace(found, notes=notes, warnings=ready.warnings, cpu_s=cpu_s, wall_s=wall_s)
    known = record if reconstructs_own_scan(record, config, index) else None
    return scan, judged(found, objective, config, scan, training_scan=index, record=known, progress=progress)


def reconstruct_resolved(
    resolved: Resolved, host: Host, *, progress: StageProgress | None = None
) -> tuple[Scan, Inferred, dict[str, Any]]:
    """Reconstruct the scan that the settings name without a trained run, judge it, and write nothing.

    Returns:
        The scan, calibrated; its reconstruction; and the record of how it was made, as ``run.json`` has it.
    """
    report = progress or no_progress
    report("loading torch", 0, 0)
    import time

    from ptycho_cli.assembly.device import torch_device
    from ptycho_cli.inference.inference_run import infer
    from ptycho_cli.inference.results import with_examples
    from ptycho_cli.inference.scan_verdict import verdict_of_run
    from ptycho_cli.inference.start_choice import choose_start
    from ptycho_cli.inference.training_scan import first_training_scan
    from ptycho_cli.training.run_record import new_record

    cpu, wall = time.process_time(), time.perf_counter()
    assembled = assemble(resolved, host, report)
    objective = assembled.objective.to(torch_device(resolved.config.execution))
    scan = first_training_scan(assembled)
    report("choosing the polish", 0, 0)
    weights = assembled.weights
    name = None if weights is None else weights.title
    start = choose_start(objective, resolved.config, scan, weights=name)
    found = infer(objective, start.config, scan, training_scan=0, polish=start.polish, progress=progress)
    cpu_s, wall_s = time.process_time() - cpu - (found.uncertainty_cpu_s or 0.0), time.perf_counter() - wall
    judging = time.process_time()
    verdict = verdict_of_run(
        start.trial, start.polish, found.result.reconstruction, scan, start.config, progress=progress
    )
    notes = (*assembled.notes, start.note, *filter(None, (start.polish.note,)))
    shown = with_examples(found.result, scan, verdict.worst_frames)
    found = replace(
        found, result=shown, notes=notes, cpu_s=cpu_s, wall_s=wall_s,
        verdict=verdict, verdict_cpu_s=time.process_time() - judging,
    )  # fmt: skip
    record = new_record(resolved, host, assembled.scans)
    used = None if weights is None or start.config.inference.untrained else weights.as_json()
    return scan, found, {**record, "weights": used, "auto": assembled.resolved_auto | start.polish.auto}


def export_weights(folder: Path, output: Path, host: Host, trained_on: str) -> str:
    """Write the network of a run, without its probe and scans.

    Args:
        folder: Folder of the run.
        output: The file.
        host: The installed plugins.
        trained_on: A line about the scans of the training.

    Returns:
        SHA-256 of the weights.
    """
    from ptycho_cli.assembly.network_weights import write_network_weights
    from ptycho_cli.extend.specs import NetworkEntry

    network, model = network_of_run(folder, host)
    about = {"made_by": host.find(NetworkEntry, model.name).info.origin, "trained_on": trained_on}
    return write_network_weights(network, output, model, about)


def compare_resolved(
    resolved: Resolved,
    host: Host,
    folder: Path,
    output: Path,
    references: tuple[str, ...] = (),
    *,
    progress: StageProgress | None = None,
) -> tuple[list[dict[str, Any]], Path, tuple[str, ...]]:
    """Compare the run in ``folder`` with physics-only and other reconstructions of the scan that the settings name.

    Args:
        resolved: The settings.
        host: The installed plugins.
        folder: Folder of the run.
        output: Folder for the table and the picture.
        references: Other reconstructions, as ``FILE`` or ``FILE:NAME``.
        progress: Called while the run is loaded and the scan is reconstructed.

    Returns:
        The rows of the table, the path of the picture, and warnings about the probe.
    """
    from ptycho_cli.data.object_files import load_object

    others = [load_object(reference, host.readers) for reference in references]
    report = progress or no_progress
    ready, index = _load_run(resolved, host, folder, report)
    from ptycho_cli.assembly.network_weights import AUTO, weights_for
    from ptycho_cli.assembly.picture_style import picture_style
    from ptycho_cli.assembly.polish_rule import recorded_polish
    from ptycho_cli.inference.comparison import compare
    from ptycho_cli.inference.comparison_files import write_comparison
    from ptycho_cli.training.run_record import read_record

    entries = compare(
        ready.objective,
        resolved.config,
        ready.scan,
        others,
        training_scan=index,
        polish=recorded_polish(read_record(folder)),
        shipped=weights_for(resolved.config.model.model_copy(update={"weights": AUTO})),
        progress=progress,
    )
    report("writing", 0, 0)
    return *write_comparison(entries, ready.scan, output, picture_style(resolved.config.pictures)), ready.warnings


def _has_probe_per_scan(record: Mapping[str, Any]) -> bool:
    """True for a run whose scans had a probe each."""
    asked = record["config"].get("physics", {}).get("probe_per_scan")
    return asked == "always" or bool(record.get("auto", {}).get("physics.probe_per_scan"))


def _load_run(
    resolved: Resolved, host: Host, folder: Path, report: StageProgress, process: ProcessInfo | None = None
) -> tuple[CalibratedScan, int | None]:
    """Load a run and a scan, and calibrate the scan; also return its index among the training scans."""
    report("loading torch", 0, 0)
    from ptycho_cli.assembly.device import torch_device
    from ptycho_cli.assembly.group_loaders import real_type
    from ptycho_cli.assembly.scans import read_scans
    from ptycho_cli.extend.specs import NetworkEntry
    from ptycho_cli.inference.scan_calibration import calibrate_for_run
    from ptycho_cli.training.run_record import (
        as_trained_on,
        changed_plugins,
        check_object_pixel,
        geometry_was_tried,
        read_record,
        training_scan_index,
    )

    config = resolved.config
    device = torch_device(config.execution, 0 if process is None else process.local_rank)
    objective = load_objective(resolved, host, folder).to(device, real_type(config.execution))
    report("reading the scan", 0, 0)
    scan = read_scans(config.data.paths, config, host.readers, report)[0]
    index, record = training_scan_index(scan, folder), read_record(folder)
    changed = changed_plugins(record, [host.find(NetworkEntry, config.model.name).info])
    if index is not None:
        scan = as_trained_on(scan, record, index)
    if index and len(record["data"]) > 1 and _has_probe_per_scan(record):
        changed = (*changed, "The run keeps the probe of its first scan alone, so this scan's own is used.")
        config = config.model_copy(update={"inference": config.inference.model_copy(update={"probe": "scan"})})
    if config.inference.probe == "run":
        check_object_pixel(scan, folder)
    if index == 0 and geometry_was_tried(record, config):
        scan = replace(scan, geometry_tried=True)
    return calibrate_for_run(objective, config, scan, index, report, warnings=changed), index
