"""Training and reconstruction for programs and notebooks: plain objects, nothing printed.

Importing ``ptycho_cli`` is quick; torch is loaded when one of these functions is called.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ptycho_cli.config.earlier_run import INIT_FROM, USES, checkpoint_layer, init_from_layer
from ptycho_cli.config.keys import keys
from ptycho_cli.config.nearest import nearest
from ptycho_cli.config.paths import check_paths
from ptycho_cli.config.presets import scan_may_choose_preset, with_effect
from ptycho_cli.config.provenance import Layer, ProblemsError, Resolved
from ptycho_cli.config.resolve import resolve
from ptycho_cli.config.serialize import resolved_to_json
from ptycho_cli.config.sources import library_layer
from ptycho_cli.data.array_scans import ARRAYS, scan_files
from ptycho_cli.data.scan import Scan
from ptycho_cli.errors import ConfigError
from ptycho_cli.inference_workflows import infer_resolved, reconstruct_resolved
from ptycho_cli.reporting.notebook_view import View
from ptycho_cli.training.start_options import StartOptions
from ptycho_cli.workflows import TrainedRun, train_resolved

if TYPE_CHECKING:
    from ptycho_cli.extend.host import Host
    from ptycho_cli.reporting.shown_inference import ShownInference

PathLike = str | os.PathLike[str]
_OTHERS = ("init_from",)  # arguments that are neither arrays nor settings
_OF_THE_COMMAND = ("resume", "resume_schedule", "force", "dry_run", "quiet", "json", "config", "preset", "from_run")


def train(
    *data: PathLike | Scan | Resolved, init_from: TrainedRun | View | PathLike | None = None, **settings: Any
) -> TrainedRun:
    """Train a network on scans, write the run to its folder, and reconstruct the first scan.

    Does the same as ``ptycho train``: the same settings, files and results, but nothing is printed, and the user's
    settings file and the environment are ignored.

    Args:
        *data: Scan files or objects ``Scan``, all with frames of one size; or one ``Resolved``, and then no settings.
            A scan in memory may also be given as arrays by name: ``counts``, ``positions_px`` and, if known, ``probe``
            and ``mask``. They are read and checked like a file, and not kept with the run.
        init_from: A run, or its folder, whose weights and probe to start from. The training then has a tenth of the
            optimizer steps of that run, unless the settings say otherwise.
        **settings: Settings, each under one of three names: the flag of ``ptycho train`` as an identifier
            (``epochs=5``, ``output_dir="runs/a"``); the dotted key (``**{"loss.withheld": 0.25}``); or
            ``network_options``, ``scheduler_options`` and ``callbacks``, which take dicts. ``output_dir`` is
            required. Units are those of ``docs/configuration.md``: lengths of a schedule, for instance, are
            optimizer steps, or texts such as ``"2ep"`` and ``"5%"``.

    Returns:
        The finished run. Its folder has the weights, ``metrics.csv`` and the reconstruction.

    Raises:
        ConfigError: If settings are unknown, wrong or contradict each other, a file is missing, or the folder of the
            run is not empty or cannot be written. The message lists all problems.
        DataError: If a scan cannot be used.
        PluginError: If a plugin that the settings name fails before the first step.
        TrainingError: If the loss is not finite, memory runs out, or a plugin fails during the training.
        InterruptedRunError: If the user pressed Ctrl-C; a checkpoint is saved.

    Examples:
        >>> import ptycho_cli
        >>> run = ptycho_cli.train(
        ...     "scan.h5", output_dir="runs/star", epochs=5, scheduler="Exponential", scheduler_options={"gamma": 0.9}
        ... )
        >>> r_factor = run.scores["trained"]["r_factor"]
    """
    from ptycho_cli.extend.host import load_plugins

    host = load_plugins(())
    start = None if init_from is None else _folder_of(init_from)
    if len(data) == 1 and isinstance(data[0], Resolved):
        if settings:
            raise ConfigError(
                "train(resolved): other settings are given in addition to the resolved ones.",
                hint="Give either a Resolved, or files and settings.",
            )
        _check_paths(data[0])
        return train_resolved(data[0], host, StartOptions(init_from=start))
    _refuse_options_of_the_command(settings)
    with scan_files(data, _arrays_among(settings)) as paths:
        resolved = _resolve_training(library_layer({"data.paths": paths, **settings}), host, start)
        _check_paths(resolved)
        return train_resolved(resolved, host, StartOptions(init_from=start))


def infer(run: TrainedRun | View | PathLike, data: PathLike | Scan | None = None, **settings: Any) -> ShownInference:
    """Reconstruct a scan with a trained run, without writing a file.

    Args:
        run: The result of :func:`train`, or the folder of a run.
        data: Scan file or ``Scan``, with frames of the size that the run was trained on; or arrays as for
            :func:`train`.
        **settings: Settings, named as for :func:`train`: ``polish=20`` iterations of physics after the network,
            ``probe="scan"`` for the probe of the file, ``untrained=True`` for physics without the network. What
            the run fixes, such as ``model.*``, cannot be set.

    Returns:
        The reconstruction with its misfit. ``result.reconstruction`` has ``object``, complex64 ``(y, x)``, and
        ``probe``, complex64 ``(mode, y, x)`` in square roots of photons; ``data.write.write_reconstruction``
        writes it to a file.

    Raises:
        ConfigError: If settings are unknown, wrong, or fixed by the run.
        CheckpointError: If the folder holds no finished run, or its frames have another size.
        DataError: If the scan cannot be read or used.

    Examples:
        >>> found = ptycho_cli.infer("runs/star", "other_scan.h5", polish=20)
        >>> phase_rad = numpy.angle(found.result.reconstruction.object)
    """
    from ptycho_cli.extend.host import load_plugins
    from ptycho_cli.reporting.shown_inference import shown
    from ptycho_cli.training.run_record import read_record

    folder = _folder_of(run)
    host, record = load_plugins(()), read_record(folder)
    with scan_files(() if data is None else (data,), _arrays_among(settings)) as paths:
        layers = [
            checkpoint_layer(record["config"], str(folder), command="infer"),
            library_layer({"data.paths": paths, **settings}),
        ]
        resolved = resolve(layers, host.catalogue(), command="infer")
        scan, found = infer_resolved(resolved, host, folder)
    made = {"reconstruction": {**resolved_to_json(resolved), "auto": found.polish.auto}}
    return shown(found, {**record, **made}, Path(scan.source).name)


def reconstruct(data: PathLike | Scan | None = None, **settings: Any) -> ShownInference:
    """Reconstruct a scan without a trained run, without writing a file.

    Does the same as ``ptycho reconstruct``: held-out frames choose between the weights that come with this program and
    physics alone, and the iterations of polish.

    Args:
        data: Scan file or ``Scan``; or arrays as for :func:`train`.
        **settings: Settings, named as for :func:`train`: ``weights="none"`` for physics alone,
            ``refine_positions=True``, ``polish=20``.

    Returns:
        The reconstruction with its misfit and its verdict, as :func:`infer` returns it; ``notes`` say what was chosen.

    Raises:
        ConfigError: If settings are unknown or wrong, or have no effect without a training.
        CheckpointError: If ``weights`` names a file that cannot be used.
        DataError: If the scan cannot be read or used.

    Examples:
        >>> found = ptycho_cli.reconstruct("scan.h5")
        >>> phase_rad = numpy.angle(found.result.reconstruction.object)
    """
    from ptycho_cli.extend.host import load_plugins
    from ptycho_cli.reporting.shown_inference import shown

    host = load_plugins(())
    with scan_files(() if data is None else (data,), _arrays_among(settings)) as paths:
        layer = library_layer({"data.paths": paths, **settings})
        scan, found, record = reconstruct_resolved(_with_suggestions(layer, host, "reconstruct"), host)
    return shown(found, record, Path(scan.source).name)


def _resolve_training(arguments: Layer, host: Host, start: Path | None) -> Resolved:
    """Resolve the arguments with the settings of the run to start from, or else with those that the scan suggests."""
    if start is not None:
        from ptycho_cli.training.run_record import read_record

        return resolve(
            [arguments, init_from_layer(read_record(start), str(start))], host.catalogue(), command=INIT_FROM
        )
    return _with_suggestions(arguments, host, "train")


def _with_suggestions(arguments: Layer, host: Host, command: Literal["train", "reconstruct"]) -> Resolved:
    """Resolve the arguments with the settings that the scan suggests."""
    resolved = resolve([arguments], host.catalogue(), command=command)
    _check_paths(resolved, command)  # before a scan is read
    if resolved.config.data.paths and scan_may_choose_preset([arguments]):
        from ptycho_cli.assembly.scans import suggested_by_scan

        if (suggested := suggested_by_scan(resolved.config, host.readers)) is not None:
            return resolve([arguments, with_effect(suggested, USES[command])], host.catalogue(), command=command)
    return resolved


def _arrays_among(settings: dict[str, Any]) -> dict[str, Any]:
    """Take the arrays out of the arguments; ``probe`` and ``mask`` may also be settings, which are text."""
    _refuse_mistyped_arrays(settings)
    return {name: settings.pop(name) for name in ARRAYS if name in settings and not isinstance(settings[name], str)}


def _refuse_mistyped_arrays(settings: Mapping[str, Any]) -> None:
    """Refuse an argument that holds an array, or is most like the name of one, and is none of ``ARRAYS``."""
    arguments = {key.argument for key in keys().values() if key.argument is not None}
    for name, value in settings.items():
        if name in ARRAYS or name in arguments or "." in name:
            continue
        is_array = getattr(value, "ndim", 0) > 0
        near = nearest(name, ARRAYS if is_array else (*ARRAYS, *arguments, *_OTHERS))
        if is_array or (near and near[0] in (*ARRAYS, *_OTHERS)):
            hint = f"Did you mean {near[0]}?" if near else f"Arrays are {', '.join(ARRAYS)}."
            raise ConfigError(f"argument {name}: there is no array or setting {name!r}.", hint=hint)


def _refuse_options_of_the_command(settings: Mapping[str, Any]) -> None:
    """Refuse names that are options of ``ptycho train`` but no settings."""
    for name in _OF_THE_COMMAND:
        if name in settings:
            raise ConfigError(
                f"argument {name}: this is an option of the command `ptycho train`, not a setting.",
                hint="Use the command, or leave the argument out.",
            )


def _check_paths(resolved: Resolved, command: Literal["train", "reconstruct"] = "train") -> None:
    """Refuse files that cannot be read and a folder that cannot be written before torch is loaded."""
    if problems := check_paths(resolved, force=False, command=command, in_python=True):
        raise ProblemsError(problems)


def _folder_of(run: TrainedRun | View | PathLike) -> Path:
    if isinstance(run, View):
        return run.path
    if not isinstance(run, TrainedRun):
        return Path(run)
    if run.folder is None:
        raise ConfigError("this run has no folder: with several devices only rank 0 writes it.")
    return run.folder
