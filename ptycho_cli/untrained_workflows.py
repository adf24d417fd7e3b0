"""Reconstruction without a trained run, and the weights that it starts from.

torch is loaded inside the functions, after their first progress report.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptycho_cli.config.provenance import Resolved
from ptycho_cli.progress_callback import StageProgress
from ptycho_cli.workflows import assemble, load_objective, no_progress

if TYPE_CHECKING:
    from ptycho_cli.data.scan import Scan
    from ptycho_cli.extend.host import Host
    from ptycho_cli.inference.inference_run import Inferred


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
    from dataclasses import replace

    from ptycho_cli.assembly.device import torch_device
    from ptycho_cli.inference.inference_run import infer
    from ptycho_cli.inference.results import with_examples
    from ptycho_cli.inference.scan_verdict import verdict_of_run
    from ptycho_cli.inference.start_choice import choose_start
    from ptycho_cli.inference.training_scan import first_training_scan
    from ptycho_cli.training.run_record import new_record

    cpu, wall = time.process_time(), time.perf_counter()
    assembled = assemble(resolved, host, report, shipped_weights=True)
    objective = assembled.objective.to(torch_device(resolved.config.execution))
    scan = first_training_scan(assembled)
    report("choosing the polish", 0, 0)
    weights = assembled.weights
    name = None if weights is None else f"the {weights.source} weights of {weights.network}"
    start = choose_start(objective, resolved.config, scan, weights=name)
    found = infer(objective, start.config, scan, training_scan=0, polish=start.polish, progress=progress)
    cpu_s, wall_s = time.process_time() - cpu - (found.uncertainty_cpu_s or 0.0), time.perf_counter() - wall
    verdict = verdict_of_run(
        start.trial, start.polish.iterations, found.result.reconstruction, scan, start.config, progress=progress
    )
    notes = (*assembled.notes, start.note, *filter(None, (start.polish.note,)))
    shown = with_examples(found.result, scan, verdict.worst_frames)
    found = replace(found, result=shown, notes=notes, cpu_s=cpu_s, wall_s=wall_s, verdict=verdict)
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
    from ptycho_cli.config.earlier_run import checkpoint_layer
    from ptycho_cli.config.resolve import resolve
    from ptycho_cli.extend.specs import NetworkEntry
    from ptycho_cli.training.run_record import read_record

    record = read_record(folder)
    layer = checkpoint_layer(record["config"], str(folder), command="infer")
    resolved = resolve([layer], host.catalogue(), command="infer")
    network, model = load_objective(resolved, host, folder).network, resolved.config.model
    about = {"made_by": host.find(NetworkEntry, model.name).info.origin, "trained_on": trained_on}
    return write_network_weights(network, output, model, about)
