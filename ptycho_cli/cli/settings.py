"""From a command's words to its settings: plugins, layers, resolution, and everything wrong at once."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import typer

from ptycho_cli.cli.words import typed_words
from ptycho_cli.config.command_line import Typed, command_line_layer
from ptycho_cli.config.inherit import INIT_FROM, USES
from ptycho_cli.config.paths import check_paths
from ptycho_cli.config.presets import leaves_it_to_the_scan
from ptycho_cli.config.provenance import Layer, Problem, ProblemsError, Resolved, Source
from ptycho_cli.config.resolve import examine
from ptycho_cli.config.sources import (
    checkpoint_layer,
    environment_layer,
    kept_schedule_layer,
    run_layer,
    start_layer,
)
from ptycho_cli.config.userfile import user_file_layer
from ptycho_cli.errors import CheckpointError, ConfigError, DataError

if TYPE_CHECKING:
    from ptycho_cli.extend.host import Host

Command = Literal["train", "infer", "inspect-config"]


def settings_from_cli(
    ctx: typer.Context,
    params: Mapping[str, Any],
    *,
    command: Command = "train",
    checkpoint: tuple[Mapping[str, Any], str] | None = None,
    init_from: Path | None = None,
    force: bool = False,
) -> Resolved:
    """Settle the settings of a command and say on stderr what should be said.

    Args:
        ctx: The command's context; its words were noted by ``SettingsCommand``.
        params: The ``**settings`` that the command function was given.
        command: What the settings are for.
        checkpoint: The nested config of an earlier run, and the name to call it by.
        init_from: A run that a new training starts from.
        force: Whether results in the output folder may be replaced.

    Raises:
        ProblemsError: With every problem of settings and paths.
    """
    resolved, problems = examine_from_cli(
        ctx, params, command=command, checkpoint=checkpoint, init_from=init_from, force=force
    )
    if problems:
        raise ProblemsError(problems)
    from ptycho_cli.render.problems import print_warnings

    print_warnings(resolved.warnings)
    return resolved


def examine_from_cli(
    ctx: typer.Context,
    params: Mapping[str, Any],
    *,
    command: Command,
    checkpoint: tuple[Mapping[str, Any], str] | None = None,
    init_from: Path | None = None,
    force: bool = False,
    keep_schedule: bool = False,
) -> tuple[Resolved, tuple[Problem, ...]]:
    """Like ``settings_from_cli``, but return the problems and print nothing.

    With ``keep_schedule`` the learning-rate schedule of the checkpoint wins over everything.
    """
    words, purpose = typed_words(ctx), "infer" if command == "infer" else "train"
    layers = [*_named_layers(words, purpose), environment_layer(), command_line_layer(words)]
    if not params.get("no_user_file") and (own := user_file_layer()) is not None:
        layers.append(own)
    if checkpoint is not None:
        layers.append(checkpoint_layer(*checkpoint, command=purpose))
        if keep_schedule:
            layers.append(kept_schedule_layer(checkpoint[0]))
    if init_from is not None:
        from ptycho_cli.training.run_record import read_record

        if checkpoint is not None:
            raise ConfigError("--init-from is given beside --resume.", hint="Leave out one of the two.")
        layers.append(start_layer(read_record(init_from), str(init_from)))
        purpose = INIT_FROM
    host = load_host(params.get("no_plugin") or ())
    resolved, problems = examine(layers, host.catalogue(), command=purpose)
    paths = check_paths(resolved, force=force, command=command)
    usable = bool(resolved.config.data.paths) and not any(item.key == "data.paths" for item in paths)
    if usable and not problems and command != "infer" and leaves_it_to_the_scan(layers):
        asked, unread = _asked_for_by_scan(resolved)
        resolved, problems = examine([*layers, *asked], host.catalogue(), command=purpose)
        problems = (*problems, *unread)
    resolved = replace(resolved, warnings=(*host.warnings, *resolved.warnings))
    problems = tuple(map(_recall_plugin, problems))
    broken = {problem.key for problem in problems}
    return resolved, (*problems, *(item for item in paths if item.key not in broken))


def _asked_for_by_scan(resolved: Resolved) -> tuple[tuple[Layer, ...], tuple[Problem, ...]]:
    """What the scan says in place of the defaults, if anything; or why it cannot be read."""
    from ptycho_cli.assembly.scans import asked_for_by_scan

    try:
        asked = asked_for_by_scan(resolved.config.data)
    except DataError as error:
        return (), (Problem("data.paths", resolved.decision("data.paths").winner.origin, error.message, error.hint),)
    return () if asked is None else (asked,), ()


def _recall_plugin(problem: Problem) -> Problem:
    """Where a scheduler or callback of an earlier run is there no longer, name the plugin that brought it."""
    lost = re.fullmatch(r"there is no (scheduler|callback|network) (?:.*:)?(.+)\.", problem.message)
    run = re.fullmatch(r"(?:checkpoint|run) (.+)", problem.origin)
    if lost is None or run is None:
        return problem
    from ptycho_cli.training.run_record import read_record

    for plugin in read_record(Path(run[1])).get("plugins", ()):
        if lost[2] in plugin[f"{lost[1]}s"]:
            origin = f"It came from {plugin['distribution']} {plugin['version']}."
            return replace(problem, hint=f"{origin} {problem.hint or ''}".rstrip())
    return problem


def _named_layers(words: tuple[Typed, ...], purpose: str) -> Iterator[Layer]:
    """The layers of ``--preset``, ``-c`` and ``--from-run``, in the order typed."""
    for word in words:
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


def load_host(blocked: Collection[str] = ()) -> Host:
    """The installed plugins, without those that are blocked by name."""
    from ptycho_cli.extend.host import load_plugins

    return load_plugins(blocked)
