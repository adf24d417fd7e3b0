"""``ptycho weights``: list, describe and export the weights of networks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ptycho_cli.cli.common_options import AsJson, Force, NoPlugin, RunFolder, load_plugins_without
from ptycho_cli.cli.output import print_json, refuse_unwritable
from ptycho_cli.cli.typer_command import CommandGroup
from ptycho_cli.render.console import print_text

app = CommandGroup()

Weights = Annotated[
    str,
    typer.Argument(
        metavar="WEIGHTS",
        help="A network with shipped weights, those of a plugin, or a file of `ptycho weights export`.",
    ),
]


@app.command("list")
def list_weights(no_plugin: NoPlugin = None, as_json: AsJson = False) -> None:
    """List the weights that come with the program, and those that plugins offer."""
    from ptycho_cli.assembly.network_weights import named_weights, read_network_weights, shipped_networks
    from ptycho_cli.config.catalogue import unique_name

    offered = load_plugins_without(no_plugin).weights
    names = {name: name for name in shipped_networks()}
    infos = [item.info for item in offered]
    names |= {unique_name(infos, info): f"{info.distribution}:{info.name}" for info in infos}
    found = []
    for shown, name in names.items():
        path, source = named_weights(name, offered)
        found.append({"name": shown, **read_network_weights(path, source=source).as_json()})
    if as_json:
        print_json(found)
        return
    from ptycho_cli.render.console import print_folded, results_console

    lines = [f"{item['name']} ({item['network']}), {item['source']}: {item.get('trained_on', '')}" for item in found]
    print_folded(results_console(), *(lines or ["No weights are shipped, and no plugin offers any."]))


@app.command("info")
def info(weights: Weights, no_plugin: NoPlugin = None, as_json: AsJson = False) -> None:
    """Describe weights: their network and its options, who made them, from what."""
    from ptycho_cli.assembly.network_weights import named_weights, read_network_weights

    path, source = named_weights(weights, load_plugins_without(no_plugin).weights)
    found = read_network_weights(path, source=source)
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
    from ptycho_cli.errors import OutputError

    if output.suffix != ".safetensors":
        raise OutputError(f"{output}: expected a name that ends in .safetensors.")
    refuse_unwritable(output, force=force)
    from ptycho_cli.inference_workflows import export_weights

    sha256 = export_weights(run, output, load_plugins_without(None), trained_on)
    print_text(f"{output}: {output.stat().st_size} bytes, SHA-256 of the weights {sha256}")
