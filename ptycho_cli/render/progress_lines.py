"""The progress of a run in a few lines of text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def progress_lines(folder: str, progress: Mapping[str, Any]) -> list[str]:
    """Lines on a run.

    Args:
        folder: Its folder, for the command that resumes it.
        progress: What ``ptycho watch --json`` prints.
    """
    return [f"run: {folder}", f"state: {state_line(folder, progress)}", *_figures(progress)]


def state_line(folder: str, progress: Mapping[str, Any]) -> str:
    """What the run does, or how it ended, with the way out."""
    state, process = progress["state"], progress["process"]
    who = f" (process {process.get('pid')} on {process.get('host')})" if process else ""
    step = f"optimizer step {progress['step']}"
    early = f", ended early: {progress['ended_by']}" if progress["ended_by"] else ""
    return {
        "setting up": f"setting up{who}",
        "training": f"training{who}",
        "finishing": f"trained, the reconstruction and the report are being written{who}",
        "trained": f"trained{early}; see ptycho report {folder}",
        "stopped": f"stopped after {step}; resume it with: ptycho train --resume {folder}",
        "failed": f"failed after {step}; resume it with: ptycho train --resume {folder}",
        "dead": f"unfinished, its process is gone{who}; resume it with: ptycho train --resume {folder}",
        "unknown": f"unfinished; its lock cannot be tried from here{who}",
    }[state]


def _figures(progress: Mapping[str, Any]) -> list[str]:
    if not progress["step"]:
        return []
    share = f" ({progress['step'] / progress['total_steps']:.0%})" if progress["total_steps"] else ""
    lines = [
        f"epoch {progress['epoch']} of {progress['epochs']}, "
        f"optimizer step {progress['step']} of {progress['total_steps']}{share}"
    ]
    parts = [("learning rate", progress["learning_rate"]), ("loss of the step", progress["train_loss"])]
    parts += [("held-out frames", progress["val_loss"]), ("lowest", progress["best_val_loss"])]
    lines.append(", ".join(f"{name} {value:.5g}" for name, value in parts if value is not None))
    if progress["state"] in ("training", "unknown"):
        left, silent = progress["seconds_left"], progress["silent_s"]
        times = [] if left is None else [f"{_duration(left)} left in the training"]
        times += [] if silent is None else [f"latest step {_duration(silent)} ago"]
        lines.append(", ".join(times))
    return lines


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"
