"""``ptycho weights``: list, describe and export the weights of networks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ptycho_cli.cli.common_options import AsJson, Force, RunFolder
from ptycho_cli.cli.output import print_json, refuse_unwritable
from ptycho_cli.cli.typer_command import CommandGroup
from ptycho_cli.render.console import print_text

app = CommandGroup()

Weights = Annotated[
    str, typer.Argument(metavar="WEIGHTS", help="A network with shipped weights, or a file of `ptycho weights export`.")
]


@app.command("list")
def list_weights(as_json: AsJson = False) -> None:
    """List the weights that come with the program."""
    from ptycho_cli.assembly.network_weights import read_network_weights, shipped_networks, shipped_path

    found = [read_network_weights(shipped_path(name), source="shipped").as_json() for name in shipped_networks()]
    if as_json:
        print_json(found)
        return
    for weights in found:
        print_text(f"{weights['network']:<12} {weights.get('trained_on', '')}")


@app.command("info")
def info(weights: Weights, as_json: AsJson = False) -> None:
    """Describe weights: their network and its options, who made them, from what."""
    from ptycho_cli.assembly.network_weights import read_network_weights, shipped_networks, shipped_path

    shipped = weights in shipped_networks()
    path = shipped_path(weights) if shipped else Path(weights)
    found = read_network_weights(path, source="shipped" if shipped else None)
    size = path.stat().st_size
    described: dict[str, Any] = {**found.as_json(), "options": dict(found.options), "bytes": size}
    if as_json:
        print_json(described)
        return
    from ptycho_cli.render.console import print_folded, results_console

    print_folded(results_console(), *(f"{name}: {value}" for name, value in described.items()))


@app.command("export")
def export(
    run: RunFolder,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="File to write: .safetensors.")],
    trained_on: Annotated[
        str, typer.Option("--trained-on", metavar="TEXT", help="A line about the scans, for `ptycho weights info`.")
    ] = "",
    force: Force = False,
) -> None:
    """Write the network of a run without its probe and scans, to start from with --weights FILE."""
    from ptycho_cli.cli.common_options import load_plugins_without
    from ptycho_cli.errors import OutputError

    if output.suffix != ".safetensors":
        raise OutputError(f"{output}: expected a name that ends in .safetensors.")
    refuse_unwritable(output, force=force)
    from ptycho_cli.inference_workflows import export_weights

    sha256 = export_weights(run, output, load_plugins_without(None), trained_on)
    print_text(f"{output}: {output.stat().st_size} bytes, SHA-256 of the weights {sha256}")
