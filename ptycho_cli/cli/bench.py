"""``ptycho bench``: throughput of training and inference on this machine."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer

from ptycho_cli.cli.common_options import AsJson, Quiet
from ptycho_cli.cli.options import settings_options
from ptycho_cli.cli.output import print_json
from ptycho_cli.errors import ConfigError


@settings_options("train", without=("data.paths", "training.output_dir", "training.epochs", "training.n_groups"))
def command(
    ctx: typer.Context,
    frames: Annotated[int, typer.Option("--n-frames", min=16, max=100_000, help="Simulated frames.")] = 256,
    size: Annotated[int, typer.Option("--size", min=16, max=2048, help="Pixels along one side, even.")] = 64,
    modes: Annotated[int, typer.Option("--modes", min=1, max=3, help="Probe modes.")] = 1,
    steps: Annotated[int, typer.Option("--steps", min=2, max=10_000, help="Optimizer steps to time.")] = 10,
    against: Annotated[
        list[str] | None,
        typer.Option("--against", metavar="KEY=VALUE", help="Measure again with this setting; several are one."),
    ] = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
    **settings: Any,
) -> None:
    """Measure training and inference on simulated frames: frames per second, parts of a step, memory.

    Takes the settings of `ptycho train`. With --against, other settings are measured in the same run.
    """
    from ptycho_cli.cli.settings import read_settings
    from ptycho_cli.render.live_display import LiveDisplay
    from ptycho_cli.throughput import Workload, measure

    if size % 2:
        raise ConfigError(f"--size {size}: expected an even number of pixels.")
    resolved, host = read_settings(ctx, command="inspect-config").accepted(main_process=True)
    work = Workload(frames, size, modes, steps)
    columns: dict[str, dict[str, Any]] = {"these settings": {}}
    if against:
        columns[", ".join(against)] = dict(map(_assignment, against))
    with LiveDisplay(quiet=quiet or as_json) as display:
        found = {
            title: measure(resolved, host, work, others, progress=display.progress) for title, others in columns.items()
        }
    if as_json:
        measured = [{"settings": columns[title], **asdict(each)} for title, each in found.items()]
        print_json({"frames": frames, "size": size, "modes": modes, "measured": measured})
        return
    from ptycho_cli.render.throughput_table import print_throughput

    print_throughput(found)


def _assignment(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise ConfigError(f"--against {text!r}: expected KEY=VALUE, such as model.options.fold=2.")
    return key, value
