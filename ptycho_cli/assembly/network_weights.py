"""Weights of a network alone, without probe and scans, so that they can start the reconstruction of any scan."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ptycho_cli.assembly.tensor_file import digest, read_tensors, write_tensors
from ptycho_cli.config.catalogue import ambiguous_name, matching
from ptycho_cli.config.schema import ModelSettings
from ptycho_cli.config.values import jsonable, show
from ptycho_cli.errors import CheckpointError, PluginError, PtychoError
from ptycho_cli.extend.attribution import call_factory
from ptycho_cli.extend.load import RegisteredEntry
from ptycho_cli.extend.specs import WeightsEntry
from ptycho_cli.networks.contract import Network
from ptycho_cli.plugin_code import one_line

FORMAT = "ptycho-cli network 1"
AUTO, NONE, SHIPPED = "auto", "none", "shipped"
_FOLDER = "shipped_weights"
_HINT = "Give the folder of a run, a file that `ptycho weights export` wrote, or model.weights=none."


@dataclass(frozen=True, eq=False)
class NetworkWeights:
    """Weights of a network.

    Attributes:
        source: Where they are from: ``shipped``, or the path of the file.
        network: Name of the network.
        options: Its options.
        tensors: What ``Network.transferable_state`` returned.
        about: What the file says of itself: who made it, from what.
        sha256: SHA-256 of the tensors.
    """

    source: str
    network: str
    options: Mapping[str, Any]
    tensors: Mapping[str, Tensor]
    about: Mapping[str, Any]
    sha256: str

    @property
    def title(self) -> str:
        """Their source and network, for messages."""
        return f"the {self.source} weights of {self.network}"

    def as_json(self) -> dict[str, Any]:
        """Plain values, as ``run.json`` holds them."""
        return {"source": self.source, "network": self.network, "sha256": self.sha256, **self.about}

    def misfit(self, model: ModelSettings) -> str | None:
        """The reason why they do not fit the settings of a network; None if they do."""
        if model.name != self.network:
            return f"they are of the network {self.network}, but model.name is {model.name}"
        wanted = jsonable(model.options)
        different = [name for name, value in self.options.items() if wanted.get(name) != value]
        if not different:
            return None
        name = different[0]
        return f"they have {name}={show(self.options[name])}, but model.options.{name} is {show(wanted.get(name))}"

    def load_into(self, network: nn.Module) -> None:
        """Give a network these weights.

        Raises:
            CheckpointError: If they do not fit it.
        """
        assert isinstance(network, Network)
        try:
            network.load_transferable_state(self.tensors)
        except (RuntimeError, KeyError) as problem:
            missing = sorted(network.transferable_state().keys() - self.tensors.keys())
            found = f"they lack {missing[0]}" if missing else one_line(problem)
            raise CheckpointError(
                f"{self.source}: these weights do not fit the network {self.network}: {found}.", hint=_HINT
            ) from None


def shipped_path(network: str) -> Path:
    """File of the weights of a network that come with the program; it may not exist."""
    return Path(str(files("ptycho_cli"))) / _FOLDER / f"{network}.safetensors"


def shipped_networks() -> list[str]:
    """Names of the networks that have shipped weights."""
    return sorted(path.stem for path in shipped_path("any").parent.glob("*.safetensors"))


Offered = Sequence[RegisteredEntry[WeightsEntry]]


def named_weights(name: str, offered: Offered = ()) -> tuple[Path, str | None]:
    """File of weights by their name, and where they are from.

    Args:
        name: Name of a network with shipped weights, of weights that a plugin offers, or a file.
        offered: Weights that plugins offer.

    Raises:
        PluginError: If several plugins offer weights of this name, or one fails.
    """
    if name in shipped_networks():
        return shipped_path(name), SHIPPED
    found = matching([item.info for item in offered], name)
    if len(found) > 1:
        message, hint = ambiguous_name(WeightsEntry.kind, found)
        raise PluginError(message, hint=hint)
    for item in offered:
        if [item.info] == found:
            path = call_factory(item.entry.path, item.title, "Choose others with model.weights")
            return Path(path), f"{item.entry.name} ({item.info.origin})"
    return Path(name), None


def weights_for(
    model: ModelSettings, offered: Offered = (), *, of_run: Callable[[Path], NetworkWeights] | None = None
) -> NetworkWeights | None:
    """The weights that ``model.weights`` asks for; None for none.

    ``auto`` takes the shipped weights, where there are some that fit the network and its options.

    Args:
        model: The settings of the network.
        offered: Weights that plugins offer.
        of_run: Reads those of a run by its folder.

    Raises:
        CheckpointError: If those that are asked for do not exist, or do not fit.
    """
    wanted = model.weights
    if wanted == NONE:
        return None
    shipped = wanted in (AUTO, SHIPPED)
    path, source = (shipped_path(model.name), SHIPPED) if shipped else named_weights(wanted, offered)
    if shipped and not path.exists():
        if wanted == AUTO:
            return None
        names = ", ".join(shipped_networks()) or "none"
        raise CheckpointError(
            f"model.weights is shipped, but no weights of the network {model.name} are shipped (found: {names}).",
            hint="Choose another network with --network, or model.weights=none.",
        )
    found = of_run(path) if of_run and path.is_dir() else read_network_weights(path, source=source)
    if (reason := found.misfit(model)) is not None:
        if wanted == AUTO:
            return None
        raise CheckpointError(f"{found.source}: these weights do not fit: {reason}.", hint="Change one of the two.")
    return found


def weights_at_start(
    record: Mapping[str, Any], model: ModelSettings, offered: Offered, of_run: Callable[[Path], NetworkWeights]
) -> NetworkWeights | None:
    """The weights that the training of a run started from; None for random ones, or where they are no longer there.

    Args:
        record: What ``run.json`` holds.
        model: Settings of its network.
        offered: Weights that plugins offer.
        of_run: Reads those of a run by its folder.
    """
    with suppress(PtychoError):
        if (earlier := record.get("init_from")) is not None:
            return of_run(Path(earlier))
        if (known := record.get("weights")) is not None:
            found = weights_for(model, offered, of_run=of_run)
            return found if found is not None and found.sha256 == known["sha256"] else None
    return None


def read_network_weights(path: Path, *, source: str | None = None) -> NetworkWeights:
    """Read weights that ``write_network_weights`` wrote.

    Raises:
        CheckpointError: If the file is missing, damaged or of another kind.
    """
    expected = "weights of a network"
    if names := shipped_networks():
        expected += f": those of {', '.join(names)}, which come with the program, or a file"
    tensors, about = read_tensors(path, FORMAT, expected=expected, missing_hint=_HINT, hint=_HINT)
    sha256 = str(about.pop("sha256"))
    network, options = about.pop("network", None), about.pop("options", None)
    if not isinstance(network, str) or not isinstance(options, dict):
        raise CheckpointError(f"{path}: does not say which network its weights are of.", hint=_HINT)
    del about["format"]
    return NetworkWeights(source or str(path), network, options, tensors, about, sha256)


def write_network_weights(network: nn.Module, path: Path, model: ModelSettings, about: Mapping[str, Any]) -> str:
    """Write the weights of a network; the file appears whole or not at all.

    Args:
        network: The trained network.
        path: The file.
        model: Its settings.
        about: Plain values about their making, such as ``made_by``.

    Returns:
        SHA-256 of the tensors.

    Raises:
        CheckpointError: If the network does not say which of its values suit other scans.
    """
    about = {**about, "format": FORMAT, "network": model.name, "options": jsonable(model.options)}
    return write_tensors(path, _transferable_state(network, model.name), about)


def weights_of(network: nn.Module, model: ModelSettings, source: str) -> NetworkWeights:
    """The weights of a network as they are.

    Args:
        network: The trained network.
        model: Its settings.
        source: Where they are from.

    Raises:
        CheckpointError: If the network does not say which of its values suit other scans.
    """
    tensors = _transferable_state(network, model.name)
    return NetworkWeights(source, model.name, jsonable(model.options), tensors, {}, digest(tensors))


def _transferable_state(network: nn.Module, name: str) -> dict[str, Tensor]:
    if not isinstance(network, Network):
        raise CheckpointError(
            f"the weights of the network {name} suit no other scans: it is no ptycho_cli.networks.contract.Network.",
            hint="Derive it from Network, which says what of its state suits other scans.",
        )
    return network.transferable_state()
