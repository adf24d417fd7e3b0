"""``ptycho demo``: run the main commands on simulated scans."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Annotated

import typer

from ptycho_cli.cli.common_options import Force
from ptycho_cli.errors import OutputError

_TRAINING, _OTHER, _RUN, _OBJECT = "train.h5", "other.h5", "run", "other-object.h5"
_FIRST = "train-object.h5"


def commands(folder: Path) -> list[list[str]]:
    """The command lines of the demo, without the program's name."""
    training, other, run, found = (str(folder / name) for name in (_TRAINING, _OTHER, _RUN, _OBJECT))
    return [
        ["simulate", "-o", training, "--frames", "400", "--seed", "1"],
        ["simulate", "-o", other, "--frames", "300", "--object", "texture", "--seed", "2"],
        ["reconstruct", training, "-o", str(folder / _FIRST), "--quiet"],
        ["evaluate", str(folder / _FIRST), "--truth", training],
        ["train", training, "-o", run, "--epochs", "8", "--scheduler", "WarmupCosine", "--learning-rate", "4e-3"],
        ["infer", run, other, "-o", found, "--quiet"],
        ["evaluate", found, "--truth", other, "--data", other],
    ]


def command(
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FOLDER", help="Folder for all files of the demo.")
    ] = Path("ptycho-demo"),
    force: Force = False,
) -> None:
    """Simulate two scans of known objects, reconstruct one, train on it, reconstruct the other, and score both.

    Prints each command before it runs, so that you can try it with your own scan.
    """
    from ptycho_cli.cli.app import main

    if output.is_dir() and any(output.iterdir()) and not force:
        raise OutputError(f"{output}: the folder is not empty.", hint="Choose another with -o, or add --force.")
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise OutputError(f"{output}: cannot be made ({problem.strerror}).", hint="Choose another with -o.") from None
    # With few cores, more threads are slower than two.
    os.environ.setdefault("OMP_NUM_THREADS", str(min(2, os.cpu_count() or 1)))
    for arguments in commands(output):
        takes_force = arguments[0] != "evaluate"
        typer.secho(f"\n$ ptycho {shlex.join(arguments)}", bold=True)
        code = main([*arguments, *(["--force"] if force and takes_force else [])])
        if code:
            raise typer.Exit(code)
    from ptycho_cli.render.console import print_folded, results_console

    console = results_console()
    first, second = output / _RUN / "reconstruction.png", (output / _OBJECT).with_suffix(".png")
    print_folded(console, "", f"Pictures: {first} and {second}")
    print_folded(console, "The network was trained on the first object; it had never seen the second one.")
