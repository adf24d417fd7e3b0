"""Start the other ranks of this node: the same command in further processes, which end with this one.

``python -m ptycho_cli.cli.local_ranks ARGUMENTS`` runs such a rank.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import IO

import typer

from ptycho_cli.errors import PtychoError, TrainingError
from ptycho_cli.render.console import print_text
from ptycho_cli.training.distributed import ProcessInfo

GRACE_S = 10.0  # time in which rank 0 may notice by itself that another rank has ended
_HINT = "This rank failed first and stopped the others; --resume continues from the last checkpoint."


@dataclass
class _Rank:
    number: int
    process: subprocess.Popen[bytes]
    errors: IO[bytes]  # its standard error

    @property
    def failed(self) -> bool:
        return self.process.poll() not in (None, 0)

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.errors):
            if pipe is not None:
                pipe.close()

    def last_message(self) -> str:
        """Return its error message if it printed one, otherwise the last line of its standard error."""
        self.errors.seek(0)
        lines = [line.strip() for line in self.errors.read().decode(errors="replace").splitlines() if line.strip()]
        errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
        code = self.process.returncode or 0
        ended = f"ended with exit code {code}" if code > 0 else f"was killed by signal {-code}"
        return (errors or lines or [f"{ended}, without a message."])[-1]


@contextmanager
def other_ranks(process: ProcessInfo, devices: int, arguments: Sequence[str]) -> Iterator[ProcessInfo]:
    """Start the other ranks of this node, and end them afterwards.

    Args:
        process: Rank of this process.
        devices: Ranks of this node.
        arguments: The program's arguments.

    Yields:
        The same, with a port for rank 0 to listen on.

    Raises:
        TrainingError: If another rank failed first.
    """
    process = replace(process, main_port=process.main_port or _free_port())
    ranks = [_start(process, local, arguments) for local in range(1, devices)]
    over = threading.Event()
    threading.Thread(target=_watch, args=(ranks, over), daemon=True).start()
    try:
        yield process
        for rank in ranks:
            rank.process.wait(timeout=60)
    except (PtychoError, typer.Exit):  # reported by the caller; not caused by another rank
        raise
    except Exception as error:
        # if another rank fails, the connection fails too; give that rank time to end
        first = _first_failed(ranks, wait_s=2.0)
        if first is None:
            raise
        raise TrainingError(f"rank {first.number}: {first.last_message()}", hint=_HINT) from error
    finally:
        over.set()
        for rank in ranks:
            rank.end()


def _start(process: ProcessInfo, local: int, arguments: Sequence[str]) -> _Rank:
    number = process.rank + local
    environment = {
        **os.environ,
        "RANK": str(number),
        "LOCAL_RANK": str(local),
        "GROUP_RANK": str(process.node_rank),
        "WORLD_SIZE": str(process.world_size),
        "MASTER_ADDR": process.main_address,
        "MASTER_PORT": str(process.main_port),
    }
    errors = tempfile.TemporaryFile()  # noqa: SIM115  open as long as the rank lives
    started = subprocess.Popen(
        [sys.executable, "-m", __name__, *arguments],
        env=environment,
        stdin=subprocess.PIPE,  # the rank ends when this process ends and closes the pipe
        stdout=subprocess.DEVNULL,
        stderr=errors,
        start_new_session=True,  # Ctrl-C reaches rank 0 only, which stops the others
    )
    return _Rank(number, started, errors)


def _watch(ranks: Sequence[_Rank], over: threading.Event) -> None:
    """End this process if another rank failed and this one waits for it inside torch for ever."""
    while not over.wait(1.0):
        failed = next((rank for rank in ranks if rank.failed), None)
        if failed is not None and not over.wait(GRACE_S):
            print_text(f"error: rank {failed.number}: {failed.last_message()}", f"hint: {_HINT}", file=sys.stderr)
            for rank in ranks:
                rank.process.kill()
            os._exit(TrainingError.exit_code)


def _first_failed(ranks: Sequence[_Rank], *, wait_s: float) -> _Rank | None:
    end = time.monotonic() + wait_s
    while time.monotonic() < end:
        for rank in ranks:
            if rank.failed:
                return rank
        time.sleep(0.05)
    return None


def _free_port() -> int:
    with socket.socket() as candidate:
        candidate.bind(("", 0))
        return int(candidate.getsockname()[1])


def _end_with_rank_0() -> None:
    os.read(0, 1)
    os._exit(1)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_rank_0, daemon=True).start()
    from ptycho_cli.cli.app import main

    sys.exit(main())
