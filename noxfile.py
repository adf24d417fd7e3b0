"""``nox`` runs everything that must pass; ``nox -s tests -- tests/extend -k lengths`` runs a part of it."""

from __future__ import annotations

from pathlib import Path

import nox

nox.needs_version = ">=2025.2"
nox.options.default_venv_backend = "venv"
nox.options.reuse_venv = "yes"
nox.options.sessions = ["tests", "lint", "types", "plugins"]

SHARED = ".nox/dev"  # tests, lint and types need the same packages, torch among them
QUIET = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
PLUGINS = sorted(path.parent for path in Path("plugins").glob("*/pyproject.toml"))

_installed: set[str] = set()


def _install(session: nox.Session, *what: str) -> None:
    """Install the tested versions once per run of nox, although several sessions share an environment."""
    session.env.update(QUIET)
    place = session.virtualenv.location
    if place in _installed:
        return
    session.install("-c", "constraints.txt", *what)
    _installed.add(place)


@nox.session(venv_location=SHARED)
def tests(session: nox.Session) -> None:
    """Run the tests of the program."""
    _install(session, "-e", ".[dev]")
    session.run("pytest", *session.posargs)


@nox.session(venv_location=SHARED)
def lint(session: nox.Session) -> None:
    """Check style and format."""
    _install(session, "-e", ".[dev]")
    session.run("ruff", "check", *session.posargs)
    session.run("ruff", "format", "--check", *session.posargs)


@nox.session(venv_location=SHARED)
def types(session: nox.Session) -> None:
    """Check types, strictly."""
    _install(session, "-e", ".[dev]")
    session.run("mypy", *session.posargs)


@nox.session
def plugins(session: nox.Session) -> None:
    """Install the program and every plugin of this repository as users do, and run the plugins' tests."""
    _install(session, ".", "pytest>=8.3", *(f"./{path.as_posix()}" for path in PLUGINS))
    session.run("ptycho", "plugins", "check")
    session.run("pytest", "-c", "pyproject.toml", *(session.posargs or [path.as_posix() for path in PLUGINS]))
