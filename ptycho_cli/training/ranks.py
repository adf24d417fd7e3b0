"""Which of the processes that train together this one is; found before torch is loaded.

A training on several devices is one process, a rank, for each device. Rank 0 speaks, checks and writes; the
others compute.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from ptycho_cli.config.schema import ExecutionSettings
from ptycho_cli.errors import ConfigError

_RENDEZVOUS = ("MASTER_ADDR", "MASTER_PORT")
_LOCALHOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Place:
    """One process among those that train together.

    Attributes:
        rank: From 0, over all nodes.
        world: Number of processes.
        local: From 0, on this node; the number of its device.
        node: Number of its node, from 0.
        started: Whether all processes of this node were started from outside, so that this one starts none.
        address: Host where rank 0 listens.
        port: Port where rank 0 listens; 0 until one is chosen.
    """

    rank: int = 0
    world: int = 1
    local: int = 0
    node: int = 0
    started: bool = True
    address: str = _LOCALHOST
    port: int = 0


def place_of(execution: ExecutionSettings, environment: Mapping[str, str] = os.environ) -> Place:
    """This process's place, from the variables of torchrun or SLURM, or as the first process of its node.

    On one device the environment has no say: jobs of a cluster that train apart stay apart.

    Raises:
        ConfigError: If the environment tells of another number of processes, or does not tell enough.
    """
    world = execution.devices * execution.num_nodes
    if world == 1:
        return Place()
    if "RANK" in environment:
        return _by_torchrun(environment, world)
    if int(environment.get("SLURM_STEP_NUM_TASKS", "1")) > 1:
        return _by_srun(environment, world)
    node = _number(environment, "NODE_RANK") if execution.num_nodes > 1 else 0
    if execution.num_nodes == 1:
        return Place(world=world, started=False)
    if node >= execution.num_nodes:
        raise ConfigError(f"$NODE_RANK is {node}, expected less than execution.num_nodes, {execution.num_nodes}.")
    address, port = _rendezvous(environment)
    return Place(node * execution.devices, world, 0, node, started=False, address=address, port=port)


def _by_torchrun(environment: Mapping[str, str], world: int) -> Place:
    _same_number("torchrun", _number(environment, "WORLD_SIZE"), world)
    address, port = _rendezvous(environment)
    rank, local, node = (_number(environment, name) for name in ("RANK", "LOCAL_RANK", "GROUP_RANK"))
    return Place(rank, world, local, node, address=address, port=port)


def _by_srun(environment: Mapping[str, str], world: int) -> Place:
    _same_number("srun", _number(environment, "SLURM_STEP_NUM_TASKS"), world)
    rank, local, node = (_number(environment, f"SLURM_{name}") for name in ("PROCID", "LOCALID", "NODEID"))
    hosts = environment.get("SLURM_STEP_NODELIST", environment.get("SLURM_NODELIST", _LOCALHOST))
    address = environment.get("MASTER_ADDR", first_host(hosts))
    # all ranks must name one port without having met; jobs that share a node have different numbers
    port = environment.get("MASTER_PORT", str(15000 + int(environment.get("SLURM_JOB_ID", "0")[-4:])))
    return Place(rank, world, local, node, address=address, port=int(port))


def first_host(hosts: str) -> str:
    """The first name of a SLURM list of hosts, such as ``n[003-007,9],login``."""
    found = re.match(r"([^,\[]*)(?:\[(\w+)[^\]]*\]([^,\[]*))?", hosts)
    return "".join(part for part in found.groups() if part) if found else hosts


def _same_number(who: str, started: int, world: int) -> None:
    if started != world:
        raise ConfigError(
            f"{who} started {started} processes, but execution.devices times execution.num_nodes is {world}.",
            hint=f"Let {who} start one process for each device, or set --devices and --num-nodes to what it starts.",
        )


def _rendezvous(environment: Mapping[str, str]) -> tuple[str, int]:
    missing = [f"${name}" for name in _RENDEZVOUS if name not in environment]
    if missing:
        raise ConfigError(
            f"execution.num_nodes: nothing says where rank 0 listens; {' and '.join(missing)} not set.",
            hint="Use srun or torchrun, or set $MASTER_ADDR, $MASTER_PORT and, on each node, $NODE_RANK.",
        )
    return environment["MASTER_ADDR"], _number(environment, "MASTER_PORT")


def _number(environment: Mapping[str, str], name: str) -> int:
    text = environment.get(name)
    if text is None or not text.isdigit():
        found = "not set" if text is None else f"{text!r}"
        raise ConfigError(
            f"${name} is {found}, expected a number.",
            hint="Use srun or torchrun, or set $MASTER_ADDR, $MASTER_PORT and, on each node, $NODE_RANK.",
        )
    return int(text)
