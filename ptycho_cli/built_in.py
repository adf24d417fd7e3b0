"""The program's own plugin: schedulers and networks come through the same hooks as a stranger's."""

from ptycho_cli.networks.entries import ptycho_networks
from ptycho_cli.schedulers import ptycho_schedulers

ptycho_plugin_api = 1

__all__ = ["ptycho_networks", "ptycho_schedulers"]
