"""The built-in plugin: its schedulers and networks use the same hooks as those of third-party plugins."""

from ptycho_cli.networks.entries import ptycho_networks
from ptycho_cli.schedulers import ptycho_schedulers

ptycho_plugin_api = 1

__all__ = ["ptycho_networks", "ptycho_schedulers"]
