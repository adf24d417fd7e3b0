"""Settings on the command line: parameters made from the schema, in panels, with completion.

A command is written as::

    @settings_options()
    def command(ctx: typer.Context, force: ... = False, **settings: Any) -> None:
        resolved, host = read_settings(ctx, command="train", force=force).accepted()

Typer does not pass settings on (``expose_value=False``), so ``settings`` holds only None: ``read_settings`` takes
what the parser recorded.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from typing import Annotated, Any, TypeVar

import typer

from ptycho_cli.cli import completion
from ptycho_cli.config.command_line import CALLBACK, CALLBACK_OPTION, OLD_NAMES, SET
from ptycho_cli.config.earlier_run import USES
from ptycho_cli.config.keys import CHOICES, Key, keys
from ptycho_cli.config.values import show, unit_after

TRAIN_GROUPS = (
    *("data", "model", "physics", "loss", "optimizer", "scheduler", "callbacks"),
    *("training", "execution", "checkpoint"),
)
INFER_GROUPS = ("data", "inference", "execution")

_PANELS = {
    "data": "Data",
    "model": "Model and loss",
    "physics": "Model and loss",
    "loss": "Model and loss",
    "optimizer": "Optimizer and scheduler",
    "scheduler": "Optimizer and scheduler",
    "callbacks": "Callbacks and plugins",
    "training": "Training",
    "execution": "Execution",
    "checkpoint": "Checkpoints",
    "inference": "Reconstruction",
}
_SETTINGS_PANEL = "Settings"
_METAVARS = {int: "INT", float: "FLOAT", str: "TEXT"}

Function = TypeVar("Function", bound=Callable[..., Any])


def settings_options(
    groups: Collection[str] = TRAIN_GROUPS, *, without: Collection[str] = (), old_names: bool = True
) -> Callable[[Function], Function]:
    """Give a command function its settings parameters.

    The function takes ``ctx: typer.Context``, parameters of its own, and ``**settings``; the last
    is replaced in its signature by one parameter for each flag of ``groups``.

    Args:
        groups: Groups of the schema whose flags the command has.
        without: Dotted keys among them that it does not have.
        old_names: Whether PtychoPINN's names are understood, hidden.
    """
    chosen = [key for key in keys().values() if key.group in groups and key.name not in without]
    ignored = () if "training" in groups else USES["infer"].ignored

    def decorate(function: Function) -> Function:
        signature = inspect.signature(function, eval_str=True)
        own = [item for item in signature.parameters.values() if item.kind is not item.VAR_KEYWORD]
        made = [_parameter(*item) for item in _declarations(chosen, groups, ignored, old_names=old_names)]
        taken = {item.name for item in own}
        function.__signature__ = signature.replace(  # type: ignore[attr-defined]
            parameters=[*own, *(item for item in made if item.name not in taken)]
        )
        return function

    return decorate


def _parameter(name: str, annotation: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _declarations(
    chosen: list[Key], groups: Collection[str], ignored: tuple[str, ...], *, old_names: bool
) -> list[tuple[str, Any]]:
    """Name and annotation of every parameter, in the order of the help; what is ignored is hidden and refused later."""
    shown = [key for key in chosen if key.flags or key.positional]
    made = [item for key in shown for item in _of_key(key, hidden=key.name.startswith(ignored), one=bool(ignored))]
    made += [
        ("config", _option("-c", "--config", many=True, metavar="FILE", panel=_SETTINGS_PANEL, help=_HELP["config"])),
        (
            "set_",
            _option(
                SET,
                many=True,
                metavar="KEY=VALUE",
                panel=_SETTINGS_PANEL,
                help=_HELP["set_" if not ignored else "set_of_run"],
            ),
        ),
    ]
    preset = _option(
        "--preset",
        many=True,
        metavar="NAME",
        panel=_SETTINGS_PANEL,
        help=_HELP["preset" if not ignored else "preset_of_run"],
    )
    made.append(("preset", preset))
    if "training" in groups:
        from_run = _option("--from-run", many=True, metavar="RUN", panel=_SETTINGS_PANEL, help=_HELP["run"])
        made.append(("from_run", from_run))
    no_user_file = _switch("--no-user-file", help=_HELP["no_user_file"], panel=_SETTINGS_PANEL)
    made.append(("no_user_file", Annotated[bool | None, no_user_file]))
    for choice in CHOICES:
        if choice.group in groups:
            name, panel = choice.flag.lstrip("-").replace("-", "_"), _PANELS[choice.group]
            made.append((name, _option(choice.flag, many=True, metavar="K=V", panel=panel, help=_HELP[name])))
    panel = _PANELS["callbacks"]
    if "callbacks" in groups:
        made += [
            ("callback", _option(CALLBACK, many=True, metavar="NAME", panel=panel, help=_HELP["callback"])),
            (
                "callback_option",
                _option(CALLBACK_OPTION, many=True, metavar="NAME.K=V", panel=panel, help=_HELP["callback_option"]),
            ),
        ]
    made.append(("no_plugin", _option("--no-plugin", many=True, metavar="NAME", panel=panel, help=_HELP["no_plugin"])))
    if old_names:
        known = {key.name for key in chosen}
        made += [_of_old_name(old.flag, old.takes_value, old.new) for old in OLD_NAMES if old.key in known]
    return made


_HELP = {
    "config": "Settings file (YAML); may be given several times, the later wins.",
    "set_": "Any setting by its key, such as loss.withheld=0.25; see inspect-config --show all.",
    "preset": "Settings that belong together, such as quick; see `ptycho config presets`.",
    "set_of_run": "Any setting by its key, such as data.max_frames=500; see inspect-config --show all.",
    "preset_of_run": "Settings that belong together, such as quality; see `ptycho config presets`.",
    "run": "All settings of an earlier run, with the rank of a settings file.",
    "no_user_file": "Leave out your own settings file; see `ptycho config user-file`.",
    "network_option": "Option of the network, such as width=32.",
    "scheduler_option": "Option of the scheduler, such as gamma=0.9.",
    "callback": "Add a callback; they run in the order given.",
    "callback_option": "Option of a callback.",
    "no_plugin": "Leave out a plugin, before it is imported.",
}


def _option(*flags: str, many: bool, metavar: str, panel: str, help: str) -> Any:
    option = typer.Option(
        *flags,
        metavar=metavar,
        help=help,
        rich_help_panel=panel,
        show_default=False,
        autocompletion=_COMPLETIONS.get(flags[-1]),
        expose_value=False,
    )
    return Annotated[list[str] | None, option] if many else Annotated[str | None, option]


def _of_key(key: Key, *, hidden: bool, one: bool) -> list[tuple[str, Any]]:
    """The parameters of a core setting: always text, converted where its place is known.

    The two sides of a switch are two parameters, so that both names fit into a help of 80 columns. A trained run
    takes ``one`` scan.
    """
    if key.positional:
        name, help = ("DATA", "The scan to reconstruct.") if one else ("DATA...", key.help)
        argument = typer.Argument(metavar=name, help=help, show_default=False, expose_value=False)
        return [(key.parameter, Annotated[list[str] | None, argument])]
    panel = _PANELS[key.group]
    if key.is_switch:
        sides = [(key.parameter, key.flags, key.help + (" (default)" if key.default else ""))]
        if key.negative_flags:
            sides.append((f"{key.parameter}__off", key.negative_flags, f"The opposite of {key.flags[0]}."))
        return [
            (name, Annotated[bool | None, _switch(*flags, help=text, panel=panel, hidden=hidden)])
            for name, flags, text in sides
        ]
    option = typer.Option(
        *key.flags,
        metavar=_metavar(key),
        hidden=hidden,
        help=key.help + _default_words(key),
        rich_help_panel=panel,
        show_default=False,
        autocompletion=_COMPLETIONS.get(key.name) or (completion.words(key.choices) if key.choices else None),
        expose_value=False,
    )
    kind: Any = list[str] if key.is_list else str
    return [(key.parameter, Annotated[kind | None, option])]


def _switch(*flags: str, help: str, panel: str, hidden: bool = False) -> Any:
    """A flag without a value."""
    return typer.Option(*flags, help=help, rich_help_panel=panel, show_default=False, hidden=hidden, expose_value=False)


def _of_old_name(flag: str, takes_value: bool, new: str) -> tuple[str, Any]:
    option = typer.Option(flag, hidden=True, help=f"Old name; use {new}.", show_default=False, expose_value=False)
    name = "old_" + flag.strip("-").replace("-", "_")
    return name, Annotated[(list[str] if takes_value else bool) | None, option]


def _metavar(key: Key) -> str:
    if key.choices:
        return "|".join(key.choices)
    arguments = getattr(key.annotation, "__args__", (key.annotation,))
    return _METAVARS.get(arguments[0], "VALUE")


def _default_words(key: Key) -> str:
    if key.default is None or key.default == () or key.is_switch:
        return ""
    return f" (default {show(key.default)}{unit_after(key.default, key.unit)})"


_COMPLETIONS: dict[str, Callable[[typer.Context, str], completion.Offered]] = {
    **{choice.key: completion.offers(choice.kind) for choice in CHOICES},
    **{choice.flag: completion.options(choice) for choice in CHOICES},
    CALLBACK: completion.offers("callback"),
    CALLBACK_OPTION: completion.callback_options,
    SET: completion.assignments,
    "--preset": completion.presets,
    "--no-plugin": completion.plugins,
}
