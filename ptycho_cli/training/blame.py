"""A plugin that fails in the middle of a training is named, like one that fails before it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from ptycho_cli.errors import PluginError, PtychoError, TrainingError
from ptycho_cli.extend.attribution import plugin_that_raised
from ptycho_cli.extend.load import PluginRecord
from ptycho_cli.extend.validate import one_line
from ptycho_cli.training.module import TrainingModule


@contextmanager
def blame_plugins(plugins: Sequence[PluginRecord], module: TrainingModule) -> Iterator[None]:
    """Turn what a plugin's code raises inside, ``sys.exit`` too, into an error that names the plugin.

    Args:
        plugins: All that were found.
        module: What is trained; it knows the step, and the scheduler's name.

    Raises:
        PluginError: If that happens before the first step is done; nothing is lost then.
        TrainingError: If it happens later.
    """
    try:
        yield
    except PtychoError:
        raise
    except (Exception, SystemExit) as error:
        found = plugin_that_raised(error, plugins)
        if found is not None:
            culprit = f"plugin {found[0].distribution} {found[0].version} failed at {found[1]}"
        else:
            raise
        done = module.applied_steps
        when = f"after optimizer step {done}" if done else "before the first step was done"
        raise (TrainingError if done else PluginError)(
            f"{when}: {culprit}: {one_line(error)}.",
            hint="Leave that plugin out, or report it to its author.",
        ) from error


def place_in(error: BaseException, plugins: Sequence[PluginRecord]) -> str:
    """The line of a plugin that an error comes from, as `` at mine.py:8``; nothing where no plugin was running."""
    found = plugin_that_raised(error, plugins)
    return "" if found is None else f" at {found[1]}"
