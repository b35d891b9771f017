"""How `mlc` talks: results on stdout, everything else on stderr, one line for an error."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import typer
from rich.console import Console

from ml_connector.cli.stack import StackFailed
from ml_connector.common.errors import BadInput, ConnectorError, InvalidFlow

P = ParamSpec("P")
R = TypeVar("R")

# In a pipe nothing is cut to the width of a terminal that is not there.
out = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 160)
err = Console(stderr=True, highlight=False, soft_wrap=True)

USAGE = 2


def fail(text: str, code: int = 1) -> typer.Exit:
    """Print why; raise what this returns."""
    sys.stderr.write(f"mlc: {text}\n")
    return typer.Exit(code)


def plainly(function: Callable[P, R]) -> Callable[P, R]:
    """A command whose expected errors are one line each, without a traceback."""

    @functools.wraps(function)
    def run(*arguments: P.args, **options: P.kwargs) -> R:
        try:
            return function(*arguments, **options)
        except InvalidFlow as error:
            raise fail("\nmlc: ".join(error.problems), USAGE) from error
        except BadInput as error:
            raise fail(str(error), USAGE) from error
        except (ConnectorError, StackFailed) as error:
            raise fail(str(error)) from error
        except FileNotFoundError as error:
            raise fail(f"there is no file {error.filename}", USAGE) from error
        except (IsADirectoryError, NotADirectoryError, PermissionError) as error:
            if error.filename is None:
                raise
            raise fail(f"{error.filename} cannot be used ({error.strerror}): name another file", USAGE) from error

    return run
