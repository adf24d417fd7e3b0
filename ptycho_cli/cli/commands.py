"""Table of the commands; the module of a command is imported when the command is called."""

from __future__ import annotations

import importlib
from collections import Counter
from typing import Any

import typer

from ptycho_cli.cli.typer_command import Command
from ptycho_cli.installed_plugins import declared_commands, plugins_are_blocked

# Name: (module, summary).
COMMANDS: dict[str, tuple[str, str]] = {
    "reconstruct": ("ptycho_cli.cli.reconstruct_command", "Reconstruct a scan without training."),
    "train": ("ptycho_cli.cli.train", "Train a network on a scan, and reconstruct that scan."),
    "infer": ("ptycho_cli.cli.infer", "Reconstruct a scan with a trained run."),
    "inspect-config": (
        "ptycho_cli.cli.inspect_config",
        "Show every setting, its origin, and what it overrides.",
    ),
    "evaluate": ("ptycho_cli.cli.evaluate", "Score a reconstruction against a known object, or against its data."),
    "export": ("ptycho_cli.cli.export", "Write a reconstruction in the format of another program."),
    "report": ("ptycho_cli.cli.report", "Write a page on a run or a reconstruction, or a table of many."),
    "watch": ("ptycho_cli.cli.watch", "Follow a run of another process or machine."),
    "compare": ("ptycho_cli.cli.compare", "Compare a trained run with physics-only reconstructions of one scan."),
    "simulate": ("ptycho_cli.cli.simulate", "Make a scan of a known object."),
    "demo": ("ptycho_cli.cli.demo", "Simulate, reconstruct, train, infer and evaluate, in about two minutes."),
    "data": ("ptycho_cli.cli.data_commands", "Check, convert and merge scan files."),
    "schedulers": ("ptycho_cli.cli.scheduler_commands", "List learning-rate schedulers and show their curves."),
    "plugins": ("ptycho_cli.cli.plugin_commands", "List installed plugins and check them."),
    "weights": ("ptycho_cli.cli.weights_commands", "List, describe and export weights of networks."),
    "bench": ("ptycho_cli.cli.bench", "Measure training and inference on this machine."),
    "doctor": ("ptycho_cli.cli.doctor", "Check this machine and installation: what is slow or missing."),
    "config": ("ptycho_cli.cli.config_commands", "Explain settings, list presets, write settings files."),
}


def plugin_commands() -> dict[str, str]:
    """Names and summaries of the commands that plugins declare; none of them is imported."""
    if plugins_are_blocked():
        return {}
    found = [item for item in declared_commands() if item.name not in COMMANDS]
    counts = Counter(item.name for item in found)
    return {item.name if counts[item.name] == 1 else f"{item.distribution}:{item.name}": item.summary for item in found}


def load_command(name: str) -> Any:
    """Import the module of a command and build the command from its function ``command`` or its group ``app``."""
    path, summary = COMMANDS[name]
    module = importlib.import_module(path)
    app = getattr(module, "app", None)
    if app is None:
        app = typer.Typer(add_completion=False)
        app.command(name, cls=Command, short_help=summary)(module.command)
    command = typer.main.get_command(app)
    command.name, command.help = name, command.help or summary
    return command
