"""From the arguments of a command to its settings: plugins, layers, resolution, and all problems at once."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import typer

from ptycho_cli.cli.typer_command import typed_settings
from ptycho_cli.config.command_line import Typed, command_line_layer
from ptycho_cli.config.earlier_run import (
    INIT_FROM,
    TRAINING,
    USES,
    checkpoint_layer,
    init_from_layer,
    run_layer,
    schedule_layer,
)
from ptycho_cli.config.paths import check_paths
from ptycho_cli.config.presets import scan_may_choose_preset, with_effect
from ptycho_cli.config.provenance import Layer, Problem, ProblemsError, Resolved, Source
from ptycho_cli.config.resolve import examine
from ptycho_cli.config.sources import environment_layer, user_file_layer
from ptycho_cli.errors import CheckpointError, ConfigError, DataError
from ptycho_cli.extend.host import Host, load_plugins

Command = Literal["train", "infer", "reconstruct", "data", "inspect-config"]


class CommandSettings(NamedTuple):
    """The settings of a command, their problems, and the installed plugins.

    ``refused`` is the error of a scan that was read for its suggestions; it is one of the problems.
    """

    resolved: Resolved
    problems: tuple[Problem, ...]
    host: Host
    refused: DataError | None = None

    def accepted(self, *, main_process: bool = True) -> tuple[Resolved, Host]:
        """Print the warnings and return settings and plugins.

        A process beside the main one prints nothing, and finds the output folder already in use.

        Raises:
            ProblemsError: If there are problems.
        """
        problems = self.problems
        if not main_process:
            problems = tuple(problem for problem in problems if problem.key != "training.output_dir")
        if problems:
            raise ProblemsError(problems)
        if main_process:
            from ptycho_cli.render.diagnostics import print_warnings

            print_warnings(self.resolved.warnings)
        return self.resolved, self.host


def read_settings(
    ctx: typer.Context,
    *,
    command: Command,
    checkpoint: tuple[Mapping[str, Any], str] | None = None,
    init_from: Path | None = None,
    force: bool = False,
    keep_schedule: bool = False,
) -> CommandSettings:
    """Resolve the settings of a command from all their sources, and check their paths.

    Args:
        ctx: The context of a command made with ``settings_options``.
        command: What the settings are for.
        checkpoint: The nested config of an earlier run, and its name for messages.
        init_from: A run whose weights a new training starts from.
        force: Whether results in the output folder may be replaced.
        keep_schedule: Let the learning-rate schedule of the checkpoint override everything else.
    """
    typed = typed_settings(ctx)
    purpose: str = "train" if command == "inspect-config" else command
    layers = [*_named_layers(ctx, purpose), environment_layer(), command_line_layer(typed)]
    if not any(word.name == "--no-user-file" for word in typed) and (own := user_file_layer()) is not None:
        layers.append(own)
    if checkpoint is not None:
        layers.append(checkpoint_layer(*checkpoint, command=purpose))
        if keep_schedule:
            layers.append(schedule_layer(checkpoint[0]))
    if init_from is not None:
        from ptycho_cli.training.run_record import read_record

        if checkpoint is not None:
            raise ConfigError("--init-from cannot be combined with --resume.", hint="Leave out one of the two.")
        layers.append(init_from_layer(read_record(init_from), str(init_from)))
        purpose = INIT_FROM
    host, refused = load_plugins([word.value for word in typed if word.name == "--no-plugin"]), None
    resolved, problems = examine(layers, host.catalogue(), command=purpose)
    paths = check_paths(resolved, force=force, command=command)
    usable = bool(resolved.config.data.paths) and not any(item.key == "data.paths" for item in paths)
    if usable and not problems and purpose in (*TRAINING, "reconstruct") and scan_may_choose_preset(layers):
        quiet = any(word.name == "--quiet" for word in typed)
        suggested, refused = _suggested_by_scan(resolved, host, quiet=quiet)
        suggested = tuple(with_effect(layer, USES[purpose]) for layer in suggested)
        resolved, problems = examine([*layers, *suggested], host.catalogue(), command=purpose)
        if refused is not None:
            origin = resolved.decision("data.paths").winner.origin
            problems = (*problems, Problem("data.paths", origin, refused.message, refused.hint))
    resolved = replace(resolved, warnings=(*host.warnings, *resolved.warnings))
    problems = tuple(map(_name_missing_plugin, problems))
    broken = {problem.key for problem in problems}
    problems = (*problems, *(item for item in paths if item.key not in broken))
    return CommandSettings(resolved, problems, host, refused)


def one_scan(resolved: Resolved, example: str) -> str:
    """Path of the one scan that a command takes; ``example`` is a command line for the hint.

    Raises:
        ConfigError: If none is given, or several are.
    """
    winner = resolved.decision("data.paths").winner
    paths: tuple[str, ...] = winner.value if winner.source > Source.CHECKPOINT else ()
    if len(paths) != 1:
        raise ConfigError(f"DATA: expected one scan, found {len(paths) or 'none'}.", hint=f"Type `{example}`.")
    return paths[0]


def _suggested_by_scan(resolved: Resolved, host: Host, *, quiet: bool) -> tuple[tuple[Layer, ...], DataError | None]:
    """Settings that the scan suggests in place of the defaults, or the error of reading it."""
    from ptycho_cli.assembly.scans import suggested_by_scan
    from ptycho_cli.render.live_display import LiveDisplay

    try:
        with LiveDisplay(quiet=quiet) as display:
            suggested = suggested_by_scan(resolved.config, host.readers, display.progress)
    except DataError as error:
        return (), error
    return () if suggested is None else (suggested,), None


def _name_missing_plugin(problem: Problem) -> Problem:
    """Add the name of the plugin to a problem if a scheduler or callback of an earlier run is no longer installed."""
    lost = re.fullmatch(r"there is no (scheduler|callback|network) (?:(.*):)?(.+)\.", problem.message)
    run = re.fullmatch(r"(?:checkpoint|run) (.+)", problem.origin)
    if lost is None or run is None:
        return problem
    from ptycho_cli.training.run_record import read_record

    for plugin in read_record(Path(run[1])).get("plugins", ()):
        if lost[2] in (None, plugin["distribution"]) and lost[3] in plugin[f"{lost[1]}s"]:
            origin = f"It came from {plugin['distribution']} {plugin['version']}."
            again = "" if _is_installed(plugin["distribution"]) else "Install it again."
            return replace(problem, hint=" ".join(part for part in (origin, again, problem.hint) if part))
    return problem


def _is_installed(distribution: str) -> bool:
    from importlib.metadata import PackageNotFoundError, version

    try:
        version(distribution)
    except PackageNotFoundError:
        return False
    return True


def _named_layers(ctx: typer.Context, purpose: str) -> Iterator[Layer]:
    """The layers of ``--preset``, ``-c`` and ``--from-run``, in the order typed."""
    for word in typed_settings(ctx):
        if word.name in ("-c", "--config"):
            from ptycho_cli.config.files import file_layer

            yield file_layer(word.value)
        elif word.name == "--from-run":
            yield _run_layer(word)
        elif word.name == "--preset":
            from ptycho_cli.config.presets import preset_layer

            yield preset_layer(word.value, word.origin, USES[purpose])


def _run_layer(word: Typed) -> Layer:
    from ptycho_cli.training.run_record import read_record

    try:
        return run_layer(read_record(Path(word.value))["config"], word.value)
    except CheckpointError as error:
        problem = Problem(word.name, word.origin, error.message, error.hint)
        return Layer(Source.RUN_FILE, problems=(problem,))
