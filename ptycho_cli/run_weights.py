"""Weights of runs: read, and chosen at the end of a training.

torch is loaded inside the functions, after the first progress report of what calls them.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ptycho_cli.config.provenance import Resolved

if TYPE_CHECKING:
    from torch import nn

    from ptycho_cli.assembly.network_weights import NetworkWeights
    from ptycho_cli.assembly.objective import Objective
    from ptycho_cli.config.schema import ModelSettings
    from ptycho_cli.extend.host import Host
    from ptycho_cli.inference.held_out_trial import HeldOutTrial
    from ptycho_cli.training.run_outcome import Run

_KEY = "training.weight_interpolation"


def network_of_run(folder: Path, host: Host) -> tuple[nn.Module, ModelSettings]:
    """The trained network of a run, on the CPU, and its settings."""
    from ptycho_cli.config.earlier_run import checkpoint_layer
    from ptycho_cli.config.resolve import resolve
    from ptycho_cli.training.run_record import read_record

    layer = checkpoint_layer(read_record(folder)["config"], str(folder), command="infer")
    resolved = resolve([layer], host.catalogue(), command="infer")
    return load_objective(resolved, host, folder).network, resolved.config.model


def load_objective(resolved: Resolved, host: Host, folder: Path) -> Objective:
    """Load network and probe of a run, on the CPU."""
    from ptycho_cli.assembly.weights import load_weights
    from ptycho_cli.extend.specs import NetworkEntry
    from ptycho_cli.training.run_lock import require_trained
    from ptycho_cli.training.run_record import WEIGHTS

    require_trained(folder)
    config = resolved.config
    return load_weights(folder / WEIGHTS, config, host.find(NetworkEntry, config.model.name).entry)


def weights_of_run(folder: Path, host: Host) -> NetworkWeights:
    """The weights of the network of a run."""
    from ptycho_cli.assembly.network_weights import weights_of

    return weights_of(*network_of_run(folder, host), str(folder))


def choose_final_weights(run: Run, host: Host, trial: HeldOutTrial) -> tuple[HeldOutTrial, dict[str, float], list[str]]:
    """Interpolate the weights of a trained run as ``training.weight_interpolation`` says, and write them.

    Args:
        run: The run, whose weights are the trained ones.
        host: The installed plugins.
        trial: The reconstruction of its first training scan without held-out frames.

    Returns:
        The trial with the weights that the run has now, what replaced ``auto``, by key, and notes.
    """
    from ptycho_cli.inference.training_scan import first_training_scan
    from ptycho_cli.inference.weight_choice import choose_weights, interpolate

    config, network = run.resolved.config, run.assembled.objective.network
    wanted = config.training.weight_interpolation
    is_auto = wanted == "auto"
    share, start = 1.0, None
    if wanted != 1 and (not is_auto or _may_interpolate(run)):
        start = _start_of(run, host)
    if start is not None and is_auto:
        trial, share = choose_weights(trial, network, config, first_training_scan(run.assembled), start)
    elif start is not None:
        share = float(wanted)
        interpolate(network, start, share)
        trial = trial.again(config)
    notes = []
    if start is not None and share < 1:
        _write(run, host)
        why = ": held-out frames do not tell them from the trained ones" if is_auto else ""
        notes = [f"The final weights keep {share:.0%} of what the training changed in {start.title}{why}."]
    elif start is None and wanted not in ("auto", 1):
        notes = [f"{_KEY} has no effect: the weights that the training started from are not known."]
    return trial, ({_KEY: share} if is_auto else {}), notes


def _may_interpolate(run: Run) -> bool:
    """Whether ``auto`` tries other weights: only at low dose, and not those that a callback set."""
    config = run.resolved.config
    withheld = run.assembled.resolved_auto.get("loss.withheld", config.loss.withheld)
    return bool(withheld) and not run.set_by_callback and not config.data.simulate


def _start_of(run: Run, host: Host) -> NetworkWeights | None:
    """The weights that a training started from; None where there are none, or they are no longer known."""
    from ptycho_cli.assembly.network_weights import weights_at_start

    model = run.resolved.config.model
    return weights_at_start(run.record, model, host.weights, of_run=partial(weights_of_run, host=host))


def _write(run: Run, host: Host) -> None:
    from ptycho_cli.assembly.weights import save_weights
    from ptycho_cli.extend.specs import NetworkEntry
    from ptycho_cli.training.run_record import WEIGHTS

    assert run.folder is not None
    network = host.find(NetworkEntry, run.resolved.config.model.name)
    save_weights(run.assembled.objective, run.folder / WEIGHTS, made_by=network.info.origin)
