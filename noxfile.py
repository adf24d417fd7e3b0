"""``nox`` runs everything that must pass; ``nox -s tests -- tests/extend -k lengths`` runs a part of it."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import nox
from nox.command import CommandFailed

nox.needs_version = ">=2025.2"
nox.options.default_venv_backend = "venv"
nox.options.reuse_venv = "yes"
nox.options.sessions = ["tests", "lint", "types", "docs", "plugins"]

# Hundreds of processes import the same modules, so what they compile is kept, whatever the machine says.
KEPT = {"PYTHONDONTWRITEBYTECODE": ""}
QUIET = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PIP_DISABLE_PIP_VERSION_CHECK": "1", **KEPT}
# Compiling every file of torch takes as long as all else of an installation; what is imported is compiled then.
QUICKLY = ("--no-compile", "-c", "constraints.txt")
ON_ALL_CORES = ("-n", "auto", "--dist", "worksteal")
PLUGINS = sorted(path.parent.as_posix() for path in Path(__file__).parent.glob("plugins/*/pyproject.toml"))

# Programs that share files with this one. ptypy and PyNX would belong to them, but are not on PyPI.
PEERS = ("ptychodus", "ptychi", "cdtools-py", "emdfile", "rosettasciio")

# Where torch has wheels; those that are not installed are passed over.
PYTHONS = ("3.11", "3.12", "3.13")
# What is typed to see that an installed program works.
TRIED = (
    ("--help",),
    ("simulate", "-o", "scan.h5", "--frames", "36", "--size", "16", "--quiet"),
    ("data", "check", "scan.h5", "--quick"),
    ("train", "scan.h5", "-o", "run", "--epochs", "1", "--n-groups", "4", "--group-size", "12", "--quiet"),
    ("infer", "run", "scan.h5", "-o", "object.h5", "--quiet"),
)

_programs: list[str] = []  # the shared environment's folder of programs, once it is ready


@nox.session(default=False)
def dev(session: nox.Session) -> None:
    """Make the one environment that tests, lint, types and docs share; torch is too large to install each time."""
    session.install(*QUICKLY, "-e", ".[dev,docs,xarray]", env=QUIET)
    _programs.append(session.bin)


def _run(session: nox.Session, program: str, *words: str, **environment: str) -> None:
    """Run a program of the shared environment, which ``requires`` has made ready."""
    session.run(str(Path(_programs[-1]) / program), *words, external=True, env={**QUIET, **environment})


@nox.session(venv_backend="none", requires=["dev"])
def tests(session: nox.Session) -> None:
    """Run the tests of the program, one on each core; those that measure time run first, with nothing beside them."""
    if session.posargs:
        _run(session, "pytest", *session.posargs)
        return
    _run(session, "pytest", "-m", "alone")
    _run(session, "pytest", *ON_ALL_CORES, "-m", "not long and not alone")


@nox.session(venv_backend="none", requires=["dev"], default=False)
def long(session: nox.Session) -> None:
    """Run the tests that are too long for every run."""
    _run(session, "pytest", "-m", "long", *session.posargs)


@nox.session(venv_backend="none", requires=["dev"], default=False)
def weights(session: nox.Session) -> None:
    """Train weights by their recipes for a short time, and check that they beat physics alone."""
    _run(session, "pytest", "-m", "", "tests/inference/test_shipped_weights.py", *session.posargs)


@nox.session(venv_backend="none", requires=["dev"], default=False)
def faults(session: nox.Session) -> None:
    """Kill runs at random moments, send odd input, and make a long run; half an hour on one core."""
    numbers = {"PTYCHO_KILLS": "12", "PTYCHO_FUZZ": "15000", "PTYCHO_MUTATIONS": "100"}
    words = session.posargs or ("tests/faults", "tests/data/test_damaged_files.py")
    _run(session, "pytest", "-m", "", "-rP", *words, **numbers)


@nox.session(venv_backend="none", requires=["dev"])
def lint(session: nox.Session) -> None:
    """Check style and format."""
    _run(session, "ruff", "check", *session.posargs)
    _run(session, "ruff", "format", "--check", *session.posargs)


@nox.session(venv_backend="none", requires=["dev"])
def types(session: nox.Session) -> None:
    """Check types, strictly."""
    _run(session, "mypy", *session.posargs)


@nox.session(venv_backend="none", requires=["dev"])
def docs(session: nox.Session) -> None:
    """Build the documentation site in build/site; every warning is an error, and links are checked."""
    _run(session, "python", "docs/build_site.py")


@nox.session
def plugins(session: nox.Session) -> None:
    """Install the program and every plugin of this repository as users do, and run the plugins' tests."""
    session.install(*QUICKLY, ".", "pytest>=8.3", "pytest-xdist>=3.6", *PLUGINS, env=QUIET)
    session.run("ptycho", "plugins", "check", env=QUIET)
    session.run("pytest", "-c", "pyproject.toml", *ON_ALL_CORES, *(session.posargs or PLUGINS), env=QUIET)


@nox.session(default=False)
def peers(session: nox.Session) -> None:
    """Open files of this program with others, and files of others with this program; needs a network.

    Each is installed without constraints. One that cannot be installed is named, and its tests are skipped.
    """
    session.install("-c", "constraints.txt", "-e", ".", "pytest>=8.3", env=QUIET)
    for peer in PEERS:
        try:
            session.install(peer, env=QUIET)
        except CommandFailed:
            session.warn(f"{peer} could not be installed; its tests are skipped.")
    session.run("pytest", "-W", "default", "-ra", *(session.posargs or ["tests/peers"]), env=QUIET)


@nox.session(default=False)
def packages(session: nox.Session) -> None:
    """Build wheel and sdist, install them with pip, uv and pipx, and try the program; needs a network.

    uv takes the wheel on every Python that it finds, or on those that are named after ``--``; pip takes the sdist, pipx
    the wheel. pip also looks whether every extra can be installed with the constraints.
    """
    session.install("build", "uv", "pipx", env=QUIET)
    place = Path(session.create_tmp()).resolve()
    shutil.rmtree(place, ignore_errors=True)
    session.run("python", "-m", "build", "--outdir", str(place / "dist"), env=QUIET)
    (wheel,), (sdist,) = (place / "dist").glob("*.whl"), (place / "dist").glob("*.tar.gz")
    constraints = str(Path("constraints.txt").resolve())
    for number, python in enumerate(session.posargs or PYTHONS):
        _with_uv(session, python, place / f"uv-{number}", str(wheel), constraints)
    session.run("python", "-m", "venv", str(place / "pip"))
    session.run(
        _program(place / "pip", "pip"), "install", "-q", "-c", constraints, str(sdist), external=True, env=QUIET
    )
    _try(session, _program(place / "pip", "ptycho"), place / "pip-files")
    for extra in nox.project.load_toml("pyproject.toml")["project"]["optional-dependencies"]:
        words = ("install", "-q", "--dry-run", "-c", constraints, f"{wheel}[{extra}]")
        session.run(_program(place / "pip", "pip"), *words, external=True, env=QUIET)
    homes = {"PIPX_HOME": str(place / "pipx"), "PIPX_BIN_DIR": str(place / "pipx-bin"), "PIP_CONSTRAINT": constraints}
    session.run("pipx", "install", "--python", sys.executable, str(wheel), env={**QUIET, **homes})
    _try(session, str(place / "pipx-bin" / "ptycho"), place / "pipx-files")


def _with_uv(session: nox.Session, python: str, place: Path, wheel: str, constraints: str) -> None:
    """Install the wheel with uv for one Python, a version or a path, and try it."""
    here = {**QUIET, "UV_PYTHON_DOWNLOADS": "never"}
    try:
        session.run("uv", "venv", "-q", "--python", python, str(place), env=here)
    except CommandFailed:
        session.warn(f"there is no Python {python} here; it is passed over.")
        return
    inside = _program(place, "python")
    session.run("uv", "pip", "install", "-q", "--python", inside, "-c", constraints, wheel, env=here)
    _try(session, _program(place, "ptycho"), place.with_name(f"{place.name}-files"))


def _program(place: Path, name: str) -> str:
    return str(place / ("Scripts" if sys.platform == "win32" else "bin") / name)


def _try(session: nox.Session, program: str, folder: Path) -> None:
    """Type what a new user types, in an empty folder."""
    folder.mkdir(parents=True)
    with session.chdir(folder):
        for words in TRIED:
            session.run(program, *words, external=True, silent=True, env=QUIET)
