"""Settings on the command line: one option for each flag of the schema, in panels, with completion.

A command is written as::

    @settings_options("train")
    def command(ctx: typer.Context, force: ... = False, **settings: Any) -> None:
        resolved, host = read_settings(ctx, command="train", force=force).accepted()

Typer does not pass the settings on (``expose_value=False``), so ``settings`` holds only None: ``read_settings`` takes
what the parser recorded.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterator
from typing import Annotated, Any, Literal, TypeVar

import typer

from ptycho_cli.cli import completion
from ptycho_cli.config.command_line import CALLBACK, CALLBACK_OPTION, OLD_NAMES, SET
from ptycho_cli.config.earlier_run import USES
from ptycho_cli.config.keys import CHOICES, Key, groups, keys
from ptycho_cli.config.values import show, unit_after

Purpose = Literal["train", "infer", "reconstruct", "data"]
"""What settings are for: training, reconstruction with a trained run or without one, or reading a scan."""

_GROUPS: dict[str, Collection[str]] = {
    "train": [group for group in groups() if group != "inference"],
    "infer": ("data", "probe", "inference", "execution", "pictures"),
    "reconstruct": ("data", "probe", "model", "physics", "training", "inference", "execution", "pictures"),
    "data": ("data", "probe"),
}
_ONE_SCAN = {
    "infer": "Scan file to reconstruct.",
    "reconstruct": "Scan file to reconstruct.",
    "data": "Scan file: .h5, .cxi, .ptyd, .npz, or of a plugin.",
}
_PANELS = {
    "data": "Data",
    "probe": "Data",
    "model": "Model and loss",
    "physics": "Model and loss",
    "loss": "Model and loss",
    "optimizer": "Optimizer and scheduler",
    "scheduler": "Optimizer and scheduler",
    "callbacks": "Callbacks",
    "training": "Training",
    "execution": "Execution",
    "checkpoint": "Checkpoints",
    "inference": "Reconstruction",
    "pictures": "Pictures",
}
_SETTINGS = "Settings"
_EXAMPLES = {
    "train": ("loss.withheld=0.25", "quick"),
    "infer": ("data.max_frames=500", "quality"),
    "reconstruct": ("physics.alpha=0.2", "quality"),
    "data": ("data.max_frames=500", ""),
}
_METAVARS = {int: "INTEGER", float: "NUMBER", str: "TEXT"}
_METAVAR_OF_KEY = {
    "training.output_dir": "FOLDER",
    "data.validation_paths": "FILE",
    "data.stored": "QUANTITY",
    "execution.logger": "NAMES",
    **{choice.key: "NAME" for choice in CHOICES},
}

Function = TypeVar("Function", bound=Callable[..., Any])


def settings_options(
    purpose: Purpose, *, without: Collection[str] = (), several: bool = False
) -> Callable[[Function], Function]:
    """Give a command function its settings.

    The function takes ``ctx: typer.Context``, parameters of its own, and ``**settings``, which is replaced in its
    signature by one parameter for each option.

    Args:
        purpose: What the settings are for; settings without effect have no option.
        without: Dotted keys of further settings that have no option.
        several: Take several scans where other commands take one.
    """

    def decorate(function: Function) -> Function:
        signature = inspect.signature(function, eval_str=True)
        kept = [item for item in signature.parameters.values() if item.kind is not item.VAR_KEYWORD]
        settings = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
            for name, annotation in _declarations(purpose, without, several)
        ]
        function.__signature__ = signature.replace(parameters=[*kept, *settings])  # type: ignore[attr-defined]
        return function

    return decorate


def _declarations(purpose: Purpose, without: Collection[str], several: bool) -> Iterator[tuple[str, Any]]:
    """Name and annotation of every parameter, in the order of the help."""
    shown = _GROUPS[purpose]
    unused = (*USES[purpose].ignored, *without)
    chosen = [key for key in keys().values() if key.group in shown and not key.name.startswith(unused)]
    for key in chosen:
        yield from _of_key(key, purpose, several)
    for choice in CHOICES:
        if choice.group in shown:
            example = {"network": "width=32", "scheduler": "gamma=0.9"}[choice.kind]
            help = f"Option of the {choice.kind}, such as {example}."
            yield _parameter(choice.flag, metavar="KEY=VALUE", help=help, panel=_PANELS[choice.group])
    if "callbacks" in shown:
        panel = _PANELS["callbacks"]
        yield _parameter(CALLBACK, metavar="NAME", help="Callback to add; several run in the order given.", panel=panel)
        help = "Option of a callback, such as Preview.every=10."
        yield _parameter(CALLBACK_OPTION, metavar="NAME.KEY=VALUE", help=help, panel=panel)
    yield from _sources(purpose)
    if purpose == "train":
        for old in OLD_NAMES:
            yield _parameter(old.flag, hidden=True, help=f"Old name; use {old.new}.", takes_value=old.takes_value)


def _sources(purpose: Purpose) -> Iterator[tuple[str, Any]]:
    """Options that name a source of settings, or switch one off."""
    example, preset = _EXAMPLES[purpose]
    help = "Settings file (YAML); the last of several overrides the others."
    yield _parameter("-c", "--config", metavar="FILE", help=help)
    yield _parameter(
        SET, metavar="KEY=VALUE", help=f"Any setting by its key, such as {example}; see inspect-config --show all."
    )
    if preset:
        help = f"Settings that belong together, such as {preset}; see `ptycho config presets`."
        yield _parameter("--preset", metavar="NAME", help=help)
    if purpose == "train":
        help = "All settings of an earlier run; they count as a settings file does."
        yield _parameter("--from-run", metavar="RUN", help=help)
    help = "Do not read your own settings file; see `ptycho config user-file`."
    yield _parameter("--no-user-file", help=help, takes_value=False)
    yield _parameter("--no-plugin", metavar="NAME", help="Do not load this plugin.")


def _of_key(key: Key, purpose: Purpose, several: bool) -> Iterator[tuple[str, Any]]:
    """The parameters of a core setting: one, or two for a switch, so that both names fit into 80 columns."""
    panel = _PANELS[key.group]
    if key.positional:
        kind: Any = str if purpose in _ONE_SCAN and not several else list[str]
        help = "Scan files." if several else _ONE_SCAN.get(purpose, key.help)
        argument = typer.Argument(metavar="DATA", help=help, expose_value=False)
        yield key.parameter, Annotated[kind | None, argument]
    elif key.is_switch and key.flags:
        help = key.help + (" (default)" if key.default is True else "")
        yield _parameter(*key.flags, name=key.parameter, help=help, panel=panel, takes_value=False)
        if key.negative_flags:
            name, help = f"{key.parameter}__off", f"The opposite of {key.flags[0]}."
            yield _parameter(*key.negative_flags, name=name, help=help, panel=panel, takes_value=False)
    elif key.flags:
        yield _parameter(
            *key.flags,
            name=key.parameter,
            metavar=_METAVAR_OF_KEY.get(key.name) or _metavar(key),
            help=key.help + _default(key),
            panel=panel,
            many=key.is_list,
            complete=_COMPLETIONS.get(key.name) or (completion.choices(key.choices) if key.choices else None),
        )


def _parameter(
    *flags: str,
    help: str,
    name: str = "",
    metavar: str | None = None,
    panel: str = _SETTINGS,
    takes_value: bool = True,
    many: bool = True,
    hidden: bool = False,
    complete: Callable[[typer.Context, str], completion.Completions] | None = None,
) -> tuple[str, Any]:
    """Name and annotation of an option; its value stays text, which is converted with those of other sources."""
    option = typer.Option(
        *flags,
        metavar=metavar,
        help=help,
        hidden=hidden,
        rich_help_panel=panel,
        autocompletion=complete or _COMPLETIONS.get(flags[-1]),
        expose_value=False,
    )
    kind: Any = (list[str] if many else str) if takes_value else bool
    return name or flags[-1].strip("-").replace("-", "_"), Annotated[kind | None, option]


def _metavar(key: Key) -> str:
    if key.choices:
        return "|".join(key.choices)
    arguments = getattr(key.annotation, "__args__", (key.annotation,))
    return _METAVARS.get(arguments[0], "VALUE")


def _default(key: Key) -> str:
    if key.default is None or key.default == ():
        return ""
    return f" (default {show(key.default)}{unit_after(key.default, key.unit)})"


_COMPLETIONS: dict[str, Callable[[typer.Context, str], completion.Completions]] = {
    **{choice.key: completion.offers(choice.kind) for choice in CHOICES},
    **{choice.flag: completion.options(choice) for choice in CHOICES},
    CALLBACK: completion.offers("callback"),
    CALLBACK_OPTION: completion.callback_options,
    SET: completion.assignments,
    "--preset": completion.presets,
    "--no-plugin": completion.plugins,
}
