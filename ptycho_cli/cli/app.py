"""The command ``ptycho``: subcommands that are loaded when they are called, errors as one line, exit codes."""

from __future__ import annotations

import gc
import importlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from ptycho_cli import __version__
from ptycho_cli.errors import PtychoError, TrainingError, is_out_of_memory

# Name -> (module, one line for the list). A module is imported when its command is called.
COMMANDS: dict[str, tuple[str, str]] = {
    "train": ("ptycho_cli.cli.train", "Train a network on a scan, and reconstruct that scan."),
    "infer": ("ptycho_cli.cli.infer", "Reconstruct a scan with a trained run."),
    "inspect-config": ("ptycho_cli.cli.inspect_config", "Show every setting, its origin, and what it overrides."),
    "evaluate": ("ptycho_cli.cli.evaluate", "Score a reconstruction against a known object, or against its data."),
    "compare": ("ptycho_cli.cli.compare", "Compare a trained run with what it has to beat, on one scan."),
    "simulate": ("ptycho_cli.cli.simulate", "Make a scan of a known object."),
    "demo": ("ptycho_cli.cli.demo", "Simulate, train, infer and evaluate, in about two minutes."),
    "data": ("ptycho_cli.cli.data_commands", "Look into scan files and check them."),
    "schedulers": ("ptycho_cli.cli.scheduler_commands", "List learning-rate schedulers and show their curves."),
    "plugins": ("ptycho_cli.cli.plugin_commands", "List installed plugins and check them."),
    "config": ("ptycho_cli.cli.config_commands", "Explain settings, list presets, write settings files."),
}
_ONLY_LOOKS = ("inspect-config", "config")  # over in an instant
INTERRUPTED = 130


class LazyGroup(TyperGroup):
    """Lists its commands without importing them; imports the one that is called."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for name, (_, summary) in COMMANDS.items():
            self.add_command(TyperCommand(name, short_help=summary, help=summary))

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse as usual; where a command comes first, the program's own flags were not typed and cost nothing."""
        self._plain = bool(args) and not args[0].startswith("-") and not ctx.resilient_parsing
        try:
            rest: list[str] = super().parse_args(ctx, args)
        finally:
            self._plain = False
        return rest

    _plain = False

    def get_params(self, ctx: Any) -> list[Any]:
        """The program's own flags; none while the words of a command are parsed."""
        return [] if self._plain else _without_types(super().get_params(ctx))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Swap the entry of the list for the command itself."""
        name, listed, rest = super().resolve_command(ctx, args)
        return name, listed if name is None else _watched(load_command(name), name), rest


def _watched(command: Any, name: str) -> Any:
    """Let a command tell that it was stopped, and compute with garbage collection, which is off at the start."""
    invoke = command.invoke

    def collect_and_invoke(ctx: Any) -> Any:
        if name not in _ONLY_LOOKS:
            gc.enable()
        try:
            return invoke(ctx)
        except KeyboardInterrupt:
            raise typer.Abort from None  # typer would end without a word

    command.invoke = collect_and_invoke
    return command


def load_command(name: str) -> Any:
    """Import a command's module and make the command from its ``command`` function or its ``app``."""
    path, summary = COMMANDS[name]
    module = importlib.import_module(path)
    group = getattr(module, "app", None)
    if group is not None:
        loaded = typer.main.get_command(group)
        loaded.name = name
        return _readable(loaded)
    single = typer.Typer(add_completion=False)
    command_class = getattr(module.command, "command_class", TyperCommand)
    single.command(name, cls=command_class, short_help=summary)(module.command)
    return _readable(typer.main.get_command(single))


def _readable(command: Any) -> Any:
    """Let help flow to the terminal's width, and show no type behind arguments, and flags that take no value."""
    for each in (command, *getattr(command, "commands", {}).values()):
        paragraphs = (each.help or "").split("\n\n")
        each.help = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
        each.get_params = _plainly(each.get_params)
    return command


def _plainly(get_params: Callable[[Any], list[Any]]) -> Callable[[Any], list[Any]]:
    return lambda ctx: _without_types(get_params(ctx))


def _without_types(params: list[Any]) -> list[Any]:
    """Typer writes ``<bool>`` behind a flag, and ``<list[str]>`` behind a file that is to be named."""
    for param in params:
        if getattr(param, "is_flag", False):
            param.metavar = ""
        elif param.param_type_name == "argument":
            param.display_type_rich = lambda ctx: None
    return params


app = typer.Typer(
    cls=LazyGroup,
    name="ptycho",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"ptycho {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Reconstruct ptychographic scans with physics-informed networks.

    New here? `ptycho demo` shows everything in two minutes.
    """


def main(args: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code; the user's mistakes are told in one line each."""
    words = sys.argv[1:] if args is None else list(args)
    with _no_pydantic_plugins():
        return _run(words)


@contextmanager
def _no_pydantic_plugins() -> Iterator[None]:
    """Spare pydantic its search of all installed packages for plugins of its own, as typer does."""
    name = "PYDANTIC_DISABLE_PLUGINS"
    before = os.environ.get(name)
    os.environ.setdefault(name, "1")
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]


def _run(words: list[str]) -> int:
    try:
        code = typer.main.get_command(app).main(words, prog_name="ptycho", standalone_mode=False)
    except PtychoError as error:
        from ptycho_cli.render.problems import print_error

        print_error(error)
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:
        # typer's own complaints about how a command was called; their base class is not public.
        if hasattr(error, "format_message"):
            from ptycho_cli.cli.usage import print_usage_error

            return print_usage_error(error)
        if not is_out_of_memory(error):
            raise
        print(
            f"error: out of memory ({str(error).splitlines()[0] if str(error) else 'no more is said'}).",
            file=sys.stderr,
        )
        print("hint: Use fewer or smaller frames (data.max_frames), or a machine with more memory.", file=sys.stderr)
        return TrainingError.exit_code
    return code if isinstance(code, int) else 0
