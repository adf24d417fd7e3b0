"""The processes of a training on several devices: one process, called a rank, per device.

Rank 0 checks the settings, prints and writes files; the other ranks compute. Importing this module
does not import torch: the command line asks for its rank before it prints the table of settings.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ptycho_cli.config.schema import ExecutionSettings
from ptycho_cli.errors import ConfigError, SharedTrainingError
from ptycho_cli.training.stop_request import StoppedError

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

_MAIN_ADDRESS = ("MASTER_ADDR", "MASTER_PORT")
_SET_BY_LIGHTNING = (*_MAIN_ADDRESS, "OMP_NUM_THREADS")
_LOCALHOST = "127.0.0.1"
_HINT = "Use srun or torchrun, or set $MASTER_ADDR, $MASTER_PORT and, on each node, $NODE_RANK."


@dataclass(frozen=True, slots=True)
class ProcessInfo:
    """Rank of this process and address of rank 0.

    Attributes:
        rank: From 0, over all nodes.
        world_size: Number of processes, over all nodes.
        local_rank: From 0, on this node; the number of its device.
        node_rank: Number of its node, from 0.
        launched: True if all processes of this node exist already, False if this one must start the others.
        main_address: Host where rank 0 listens.
        main_port: Port where rank 0 listens; 0 until one is chosen.
    """

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    node_rank: int = 0
    launched: bool = True
    main_address: str = _LOCALHOST
    main_port: int = 0


def process_info(execution: ExecutionSettings, environment: Mapping[str, str] = os.environ) -> ProcessInfo:
    """Rank of this process, from the variables of torchrun or SLURM, or as the first process of its node.

    With one device the environment is ignored, so that separate trainings in one cluster job stay separate.

    Raises:
        ConfigError: If the environment states another number of processes, or lacks a variable.
    """
    world_size = execution.devices * execution.num_nodes
    if world_size == 1:
        return ProcessInfo()
    if "RANK" in environment:
        return _from_torchrun(environment, world_size)
    if int(environment.get("SLURM_STEP_NUM_TASKS", "1")) > 1:
        return _from_srun(environment, world_size)
    if execution.num_nodes == 1:
        return ProcessInfo(world_size=world_size, launched=False)
    node_rank = _number(environment, "NODE_RANK")
    if node_rank >= execution.num_nodes:
        raise ConfigError(f"$NODE_RANK is {node_rank}, expected less than execution.num_nodes, {execution.num_nodes}.")
    address, port = _main_address(environment)
    rank = node_rank * execution.devices
    return ProcessInfo(rank, world_size, 0, node_rank, launched=False, main_address=address, main_port=port)


def launched_process(execution: ExecutionSettings) -> ProcessInfo:
    """Rank of this process, in a program that cannot start the others itself.

    Raises:
        ConfigError: If no launcher has started a process for each device.
    """
    process = process_info(execution)
    if not process.launched:
        raise ConfigError(
            f"execution.devices is {execution.devices}, which needs one process per device, but this program is a"
            " single process.",
            hint="Use the command `ptycho train`, or start this program with torchrun or srun.",
        )
    return process


def _from_torchrun(environment: Mapping[str, str], world_size: int) -> ProcessInfo:
    _check_world_size("torchrun", _number(environment, "WORLD_SIZE"), world_size)
    address, port = _main_address(environment)
    rank, local_rank, node_rank = (_number(environment, name) for name in ("RANK", "LOCAL_RANK", "GROUP_RANK"))
    return ProcessInfo(rank, world_size, local_rank, node_rank, main_address=address, main_port=port)


def _from_srun(environment: Mapping[str, str], world_size: int) -> ProcessInfo:
    _check_world_size("srun", _number(environment, "SLURM_STEP_NUM_TASKS"), world_size)
    names = (f"SLURM_{name}" for name in ("PROCID", "LOCALID", "NODEID"))
    rank, local_rank, node_rank = (_number(environment, name) for name in names)
    hosts = environment.get("SLURM_STEP_NODELIST", environment.get("SLURM_NODELIST", _LOCALHOST))
    address = environment.get("MASTER_ADDR", first_host(hosts))
    # All ranks must choose the same port without communicating; jobs that share a node have different numbers.
    port = environment.get("MASTER_PORT", str(15000 + int(environment.get("SLURM_JOB_ID", "0")[-4:])))
    return ProcessInfo(rank, world_size, local_rank, node_rank, main_address=address, main_port=int(port))


def first_host(hosts: str) -> str:
    """First name in a SLURM list of hosts such as ``n[003-007,9],login``."""
    found = re.match(r"([^,\[]*)(?:\[(\w+)[^\]]*\]([^,\[]*))?", hosts)
    return "".join(part for part in found.groups() if part) if found else hosts


def _check_world_size(launcher: str, started: int, world_size: int) -> None:
    if started != world_size:
        raise ConfigError(
            f"{launcher} started {started} processes, but execution.devices times execution.num_nodes is {world_size}.",
            hint=f"Start one process per device with {launcher}, or set devices and num_nodes to match.",
        )


def _main_address(environment: Mapping[str, str]) -> tuple[str, int]:
    missing = [f"${name}" for name in _MAIN_ADDRESS if name not in environment]
    if missing:
        raise ConfigError(
            f"execution.num_nodes: the address of rank 0 is unknown, {' and '.join(missing)} not set.", hint=_HINT
        )
    return environment["MASTER_ADDR"], _number(environment, "MASTER_PORT")


def _number(environment: Mapping[str, str], name: str) -> int:
    text = environment.get(name)
    if text is None or not text.isdigit():
        found = "not set" if text is None else f"{text!r}"
        raise ConfigError(f"${name} is {found}, expected a number.", hint=_HINT)
    return int(text)


def sum_over_ranks(trainer: Trainer, *values: float) -> list[float]:
    """Sum each value over all ranks; every rank gets the same sums."""
    if trainer.world_size == 1:
        return list(values)
    import torch

    # Apple's GPUs have no double precision, but with one of them there is only one rank.
    tensor = torch.tensor(values, dtype=torch.float64, device=trainer.strategy.root_device)
    summed: list[float] = trainer.strategy.reduce(tensor, reduce_op="sum").tolist()
    return summed


def of_all_ranks(trainer: Trainer, values: list[float]) -> list[float]:
    """Values of all ranks, in the order of the ranks; every rank gets the same list."""
    if trainer.world_size == 1:
        return list(values)
    import torch

    found: list[list[float]] = [[]] * trainer.world_size
    torch.distributed.all_gather_object(found, values)
    return [value for of_rank in found for value in of_rank]


@contextmanager
def process_group(process: ProcessInfo) -> Iterator[None]:
    """Close torch's process group after a fit, and restore the environment variables that Lightning sets.

    The group is closed at the end of the fit, and after an error or a stop that all ranks share: threads of a
    group that is still open can kill a process while it ends. After an error of one rank alone the group stays
    open. Closing it would make the other ranks fail too, and their errors could come first.
    """
    before = {name: os.environ.get(name) for name in _SET_BY_LIGHTNING}
    try:
        yield
        _close_group(process, wait=True)
    except (SharedTrainingError, StoppedError):
        _close_group(process, wait=False)  # no communication is under way
        raise
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def joined(process: ProcessInfo, execution: ExecutionSettings) -> Iterator[None]:
    """Connect the ranks for sums over all of them, outside of a training; nothing for a single process."""
    if process.world_size == 1:
        yield
        return
    import torch

    from ptycho_cli.assembly.device import torch_device

    device = torch_device(execution, process.local_rank)
    if device.type == "cuda":
        torch.cuda.set_device(process.local_rank)
    torch.distributed.init_process_group(
        "nccl" if device.type == "cuda" else "gloo",
        init_method=f"tcp://{process.main_address}:{process.main_port}",
        rank=process.rank,
        world_size=process.world_size,
    )
    yield
    _close_group(process, wait=True)  # after an error of one rank the group stays open, as in ``process_group``


def _close_group(process: ProcessInfo, *, wait: bool) -> None:
    if process.world_size == 1:
        return
    import torch

    if torch.distributed.is_initialized():
        if wait:
            torch.distributed.barrier()
        torch.distributed.destroy_process_group()
