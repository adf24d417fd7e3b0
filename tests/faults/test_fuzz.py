"""Odd settings files, variables, ``--set`` words, records of runs and scans are read or refused in one line.

``PTYCHO_FUZZ=20000`` tries more inputs of each kind, and ``PTYCHO_FUZZ_FROM`` others. Each kind runs in a process of
its own that may use 1 GiB more than it does at its start, and five CPU seconds for each input. torch is not loaded.
"""

from __future__ import annotations

import importlib.util
import io
import json
import os
import random
import resource
import signal
import tempfile
import traceback
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from ptycho_cli.config.command_line import Typed, command_line_layer
from ptycho_cli.config.earlier_run import checkpoint_layer, differences, init_from_layer, run_layer, schedule_layer
from ptycho_cli.config.files import file_layer
from ptycho_cli.config.keys import keys
from ptycho_cli.config.provenance import Layer
from ptycho_cli.config.resolve import examine
from ptycho_cli.config.sources import environment_layer, library_layer
from ptycho_cli.config.values import printable
from ptycho_cli.errors import PtychoError
from ptycho_cli.extend.host import load_plugins
from ptycho_cli.render.diagnostics import print_problems, print_warnings
from ptycho_cli.training.run_record import read_record

INPUTS = int(os.environ.get("PTYCHO_FUZZ", "100"))  # of each kind
FIRST = int(os.environ.get("PTYCHO_FUZZ_FROM", "0"))
MEMORY, SECONDS = 2**30, 5
FAILED_ONCE = {
    "yaml_file": (100334, 101616),
    "scan": (11354, 19309, 200257, 204787, 500730),
    "addresses": (632, 715, 1417, 1850, 2055935),
}  # seeds
CATALOGUE = load_plugins(environment={"PTYCHO_NO_PLUGINS": "1"}).catalogue()
NAMES = (
    *keys(),
    *("model.options.stages", "model.options.width", "model.options.subsets", "scheduler.options.gamma"),
    *("callbacks", "callbacks.preview", "callbacks.preview.every", "data.findings.few-frames", "data.findings"),
    *(
        "model.options",
        "scheduler.options",
        "model",
        "training",
        "config",
        "decisions",
        "<<",
        "",
        ".",
        "a.b.c.d",
        "é\n",
    ),
)
TEXTS = (
    *("", " ", "1", "0", "-1", "1.5", "1e-3", "1e400", "-1e400", "nan", ".inf", "-.inf", "inf", "9" * 5000, "1_000"),
    *("true", "no", "off", "null", "~", "auto", "0x1f", "0o17", "1:30", "2026-01-01", "1.e", "+", "2ep", "5%", "1e9ep"),
    *(
        "/dev/zero",
        "/",
        "..",
        "a,b",
        "a=b",
        "[1, 2]",
        "{a: 1}",
        "\x00",
        "\x1b[2J",
        "a\nb",
        "\u202e",
        "\ud800",
        "é" * 999,
    ),
    *("Exponential", "unrolled", "refiner", "poisson", "%s", "{}", "$HOME", "${X}", "Infinity", "1" + "0" * 30, "1e18"),
)
VALUES = (
    *(
        None,
        True,
        False,
        0,
        -1,
        1,
        10**9,
        10**30,
        2**63,
        -(2**70),
        0.5,
        1e308,
        float("inf"),
        float("nan"),
        [],
        {},
        [[]],
    ),
    *([1, [2, [3]]], {"a": {"b": 1}}, ["a", 1, None], {"": ""}, {"name": "unrolled"}, [{}], {"callbacks": 1}),
)


def text(rng: random.Random) -> str:
    """A word that a setting may or may not accept."""
    if rng.random() < 0.1:
        return "".join(
            chr(rng.choice((rng.randrange(1, 128), rng.randrange(1, 0xD800)))) for _ in range(rng.randrange(9))
        )
    return rng.choice(TEXTS)


def value(rng: random.Random) -> Any:
    """A value of JSON."""
    return rng.choice(VALUES) if rng.random() < 0.6 else text(rng)


def decide(*layers: Layer, command: str = "train") -> None:
    """Resolve settings; each problem must be one line."""
    resolved, problems = examine(layers, CATALOGUE, command=command)
    printed = io.StringIO()
    print_problems(problems, printed)
    print_warnings(resolved.warnings, printed)
    lines = printed.getvalue().split("\n")[:-1]
    assert len(lines) == len(problems) + len(resolved.warnings), lines
    assert all(line.startswith(("error: ", "warning: ")) for line in lines), lines


def changed_text(stored: str, rng: random.Random) -> str:
    """Characters exchanged, doubled, cut out or put in."""
    letters = list(stored)
    for _ in range(rng.randrange(1, 6)):
        at, length = rng.randrange(len(letters) + 1), rng.randrange(1, 30)
        kind = rng.randrange(4)
        if kind == 0:
            letters[at : at + length] = text(rng)
        elif kind == 1:
            letters[at:at] = letters[at : at + length]
        elif kind == 2:
            del letters[at : at + length]
        else:
            letters[at:at] = rng.choice("[]{}:,&*!|>'\"%@`#-?\t\n\\ 0") * rng.choice((1, 1, 2, 300))
    return "".join(letters)


def changed_value(stored: Any, rng: random.Random) -> Any:
    """A JSON value in which some parts are replaced or missing."""
    if rng.random() < 0.06:
        return value(rng)
    if isinstance(stored, dict):
        kept = {key: changed_value(item, rng) for key, item in stored.items() if rng.random() < 0.99}
        return kept | ({text(rng): value(rng)} if rng.random() < 0.03 else {})
    if isinstance(stored, list):
        return [changed_value(item, rng) for item in stored]
    return stored


def one_part_changed(stored: Any, rng: random.Random) -> Any:
    """The same with exactly one part replaced or missing."""
    copy = json.loads(json.dumps(stored))
    at = copy
    while True:
        places = list(at) if isinstance(at, dict) else list(range(len(at)))
        place = rng.choice(places)
        if not isinstance(at[place], (dict, list)) or not at[place] or rng.random() < 0.3:
            break
        at = at[place]
    if rng.random() < 0.15:
        del at[place]
    else:
        at[place] = value(rng)
    return copy


def yaml_file(rng: random.Random, folder: Path) -> None:
    """A settings file."""
    path = folder / "settings.yaml"
    if rng.random() < 0.5:
        lines = ["training:", "  epochs: 3", "data:", "  paths: [a.h5]", "  findings:", "    few-frames: ignore"]
        lines += ["scheduler:", "  name: Exponential", "  options: {gamma: 0.9}", "callbacks:", "  preview: {every: 3}"]
        content = changed_text("\n".join(lines), rng)
    else:
        content = "".join(f"{rng.choice(NAMES)}: {value(rng) if rng.random() < 0.5 else text(rng)}\n" for _ in range(5))
        if rng.random() < 0.1:
            content += f"x: &a {'[' * rng.randrange(3000)}\n"
        if rng.random() < 0.1:
            content += "".join(f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 9) if k else 1}]\n" for k in range(30))
    path.write_bytes(content.encode(rng.choice(("utf-8", "utf-16", "latin-1")), "replace"))
    decide(file_layer(path))


def variables(rng: random.Random, folder: Path) -> None:
    """Variables of the environment."""
    name = lambda: f"PTYCHO_{rng.choice(NAMES).upper().replace('.', '__').replace('-', '_')}"  # noqa: E731
    decide(environment_layer({name(): text(rng) for _ in range(3)} | {f"PTYCHO_{text(rng)}": text(rng)}))


def words(rng: random.Random, folder: Path) -> None:
    """``--set`` and flags."""
    flags = [flag for key in keys().values() for flag in key.flags]
    typed = [Typed("--set", rng.choice((f"{rng.choice(NAMES)}={text(rng)}", text(rng))), number) for number in range(3)]
    decide(command_line_layer([*typed, Typed(rng.choice(flags), text(rng), 4)]))


def arguments(rng: random.Random, folder: Path) -> None:
    """Settings of a Python caller."""
    decide(library_layer({rng.choice(NAMES): value(rng) for _ in range(3)}))


def record(rng: random.Random, folder: Path) -> None:
    """``run.json``, as every command that uses a run reads it."""
    stored = json.loads((Path(__file__).parent / "run.json").read_text())
    kind, path = rng.random(), folder / "run.json"
    if kind < 0.25:
        path.write_text(changed_text(json.dumps(stored), rng), "utf-8", "replace")
    else:
        changed = one_part_changed(stored, rng) if kind < 0.8 else changed_value(stored, rng)
        path.write_text(json.dumps(changed), "utf-8", "replace")
    found = read_record(folder)
    config = found["config"]
    decide(checkpoint_layer(config, "run", command="infer"), command="infer")
    decide(checkpoint_layer(config, "run"), schedule_layer(config))
    decide(run_layer(config, "run"))
    decide(init_from_layer(found, "run"), command="init-from")
    differences(examine([], CATALOGUE)[0], found)


@cache
def damage() -> Any:
    """The module that damages scan files."""
    place = Path(__file__).parents[1] / "data" / "test_damaged_files.py"
    spec = importlib.util.spec_from_file_location("damage", place)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def scan(rng: random.Random, folder: Path) -> None:
    """A scan file of each container, with changed bytes or exchanged parts."""
    name, path = rng.choice([*damage().HDF5, *damage().OTHERS]), folder / "scan"
    generator = damage().np.random.default_rng(rng.getrandbits(32))
    if name in damage().HDF5:
        damage().write_hdf5(path, name)
        if rng.random() < 0.7:
            damage().replace_items(path, generator)
            damage().read(path)
            return
    stored = path.read_bytes() if name in damage().HDF5 else damage().OTHERS[name]()
    path.write_bytes(damage().with_other_bytes(stored, generator))
    damage().read(path)


def with_other_addresses(stored: bytes, rng: random.Random) -> bytes:
    """Numbers of eight bytes that may be addresses or lengths, exchanged or replaced by odd ones."""
    data = bytearray(stored)
    numbers = [at for at in range(0, len(data) - 8, 4) if 16 <= int.from_bytes(data[at : at + 8], "little") < len(data)]
    for _ in range(rng.randrange(1, 4)):
        at, kind = rng.choice(numbers), rng.randrange(3)
        if kind == 0:
            other = rng.choice(numbers)
            data[at : at + 8] = data[other : other + 8]
        elif kind == 1:
            odd = (0, 2**64 - 1, 2**63, len(data), len(data) - 8, 2**64 - 16, 2**32)
            data[at : at + 8] = rng.choice(odd).to_bytes(8, "little")
        else:
            data[at : at + 8] = (int.from_bytes(data[at : at + 8], "little") & ~7).to_bytes(8, "little")
    return bytes(data)


def addresses(rng: random.Random, folder: Path) -> None:
    """An HDF5 file, of the oldest or the newest format, whose parts refer to wrong places."""
    path = folder / "scan"
    damage().write_hdf5(path, rng.choice([*damage().HDF5]), rng.choice(("earliest", "latest")))
    path.write_bytes(with_other_addresses(path.read_bytes(), rng))
    damage().read(path)


KINDS: dict[str, Callable[[random.Random, Path], None]] = {
    function.__name__: function for function in (yaml_file, variables, words, arguments, record, scan, addresses)
}


def is_one_line(error: BaseException) -> bool:
    """True for an error of ours without line breaks."""
    return isinstance(error, PtychoError) and "\n" not in printable(error.message) + printable(error.hint or "")


def too_slow(number: int, frame: Any) -> None:
    raise TimeoutError


def try_all(kind: str, seeds: range, report: int) -> None:
    """Try inputs of one kind in this process, and report the first seed that fails."""
    damage()  # its imports are not what is tried
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, size + MEMORY))
    signal.signal(signal.SIGPROF, too_slow)
    with tempfile.TemporaryDirectory() as folder:
        for seed in seeds:
            os.pwrite(report, f"{seed}: the process ended".encode().ljust(4000), 0)
            signal.setitimer(signal.ITIMER_PROF, SECONDS)
            signal.setitimer(signal.ITIMER_VIRTUAL, 3 * SECONDS)  # ends the process where Python cannot interrupt it
            try:
                KINDS[kind](random.Random(seed), Path(folder))
            except BaseException as error:
                if not is_one_line(error):
                    os.pwrite(report, f"{seed}: {traceback.format_exc()[-3000:]}".encode().ljust(4000), 0)
                    os._exit(1)
    for timer in (signal.ITIMER_PROF, signal.ITIMER_VIRTUAL):
        signal.setitimer(timer, 0)
    os.ftruncate(report, 0)


@pytest.mark.parametrize("kind", KINDS)
def test_odd_input_is_read_or_refused_in_one_line(tmp_path: Path, kind: str) -> None:
    failed = fuzz(tmp_path, kind, range(FIRST, FIRST + INPUTS))

    assert not failed, f"{kind}, seed {failed}"


@pytest.mark.parametrize(("kind", "seed"), [(kind, seed) for kind, seeds in FAILED_ONCE.items() for seed in seeds])
def test_what_failed_once_is_read_or_refused_in_one_line(tmp_path: Path, kind: str, seed: int) -> None:
    failed = fuzz(tmp_path, kind, range(seed, seed + 1))

    assert not failed, f"{kind}, seed {failed}"


def fuzz(folder: Path, kind: str, seeds: range) -> str:
    """What failed first, with its seed; empty if nothing did."""
    file = folder / "report"
    report = os.open(file, os.O_RDWR | os.O_CREAT)
    child = os.fork()
    if child == 0:
        try:
            try_all(kind, seeds, report)
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(report)
    return file.read_text(errors="replace").strip()
