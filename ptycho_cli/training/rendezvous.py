"""Where the ranks of a training meet, told to Lightning as this program sees it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment

from ptycho_cli.errors import SharedTrainingError
from ptycho_cli.training.ranks import Place
from ptycho_cli.training.stop import StoppedError

_WRITTEN = ("MASTER_ADDR", "MASTER_PORT", "OMP_NUM_THREADS")  # by Lightning, for the whole process


class Rendezvous(ClusterEnvironment):
    """The processes are there already, and each knows its place; Lightning neither guesses nor starts any."""

    def __init__(self, place: Place) -> None:
        super().__init__()
        self._place = place

    @property
    def creates_processes_externally(self) -> bool:
        """Always."""
        return True

    @property
    def main_address(self) -> str:
        """Host of rank 0."""
        return self._place.address

    @property
    def main_port(self) -> int:
        """Port of rank 0."""
        return self._place.port

    @staticmethod
    def detect() -> bool:
        """Never found by itself."""
        return False

    def world_size(self) -> int:
        """Number of ranks."""
        return self._place.world

    def set_world_size(self, size: int) -> None:
        """The world is as large as it is."""

    def global_rank(self) -> int:
        """Of this process."""
        return self._place.rank

    def set_global_rank(self, rank: int) -> None:
        """The rank is what it is."""

    def local_rank(self) -> int:
        """On this node."""
        return self._place.local

    def node_rank(self) -> int:
        """Of this node."""
        return self._place.node


@contextmanager
def meeting(place: Place) -> Iterator[None]:
    """Around a fit: afterwards the ranks part, and the environment is as it was.

    They part at the end, and at an error or a stop that all of them meet: a process that ends with threads of the group
    still there can be killed by them. After an error of one rank they do not part: the others would fail in turn, and
    the first error could not be told from theirs.
    """
    before = {name: os.environ.get(name) for name in _WRITTEN}
    together = place.world > 1
    try:
        yield
        if together and torch.distributed.is_initialized():
            torch.distributed.barrier()
            torch.distributed.destroy_process_group()
    except (SharedTrainingError, StoppedError):
        if together and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()  # nothing is under way, and nobody waits
        raise
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
