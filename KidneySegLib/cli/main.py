"""``kidneyseg``: reads the command line, calls the engine, turns errors into one line and an exit status."""

from __future__ import annotations

import argparse
import errno
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from KidneySegLib import __version__
from KidneySegLib.cli import (
    batch,
    consensus,
    dataset,
    demo,
    evaluate,
    export,
    measure,
    models,
    phantom,
    segment,
    train,
    ultrasound,
)
from KidneySegLib.errors import Cancelled, KidneySegError
from KidneySegLib.progress import CancelToken

#: Exit statuses; Ctrl-C gives 130. A bug keeps its traceback and Python's status 1.
EXIT_DONE = 0
EXIT_USER_ERROR = 2

_DESCRIPTION = """\
Measures kidneys on arterial-phase CT: finds both kidneys, separates renal cortex from medulla,
and writes masks, volumes in mL, pictures and a report. Research use only: not a medical device.
"""
_EPILOG = """\
examples:
  kidneyseg demo                                  try it: a synthetic case with known truth
  kidneyseg segment DICOM_FOLDER -o results       a CT series, folder or zip
  kidneyseg segment scan.nii.gz -o results        or one NIfTI, NRRD or MetaImage file
  kidneyseg measure corrected.nii.gz --image scan.nii.gz -o results-corrected

`kidneyseg COMMAND --help` explains a command. Exit status: 0 done, 2 something that you can mend
(one line on standard error says what), 130 stopped with Ctrl-C; nothing half-written is ever left.
"""


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(EXIT_USER_ERROR, f"{self.prog}: {message}. See {self.prog} --help\n")


def build_parser() -> argparse.ArgumentParser:
    """The whole command line. Imports nothing heavy, so that ``--help`` is instant."""
    parser = Parser(
        prog="kidneyseg",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"kidneyseg {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command", required=True)
    rooms = (demo, segment, measure, export, batch, evaluate, consensus, phantom, ultrasound, dataset, train, models)
    for room in rooms:
        room.add_parser(commands)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: what follows ``kidneyseg``; by default the process's own.

    Returns:
        The exit status.
    """
    try:
        options = build_parser().parse_args(arguments)
    except SystemExit as leaving:  # --help, --version, or an argument that does not exist
        return leaving.code if isinstance(leaving.code, int) else EXIT_USER_ERROR
    token = CancelToken()
    with _quiet_libraries(), _cancel_on_signal(token) as came:
        try:
            options.run(options, token)
        except KidneySegError as error:
            return _complain(str(error))
        except (Cancelled, KeyboardInterrupt):
            print("kidneyseg: stopped; nothing half-written was left.", file=sys.stderr)
            return 128 + (came[0] if came else signal.SIGINT)
        except BrokenPipeError:
            # The reader of our output (head, less) went away: no error of anybody's.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        except MemoryError:
            return _complain("The computer ran out of memory. Close other programs, or crop the scan to the abdomen.")
        except OSError as error:
            message = _explain_os_error(error)
            if message is None:
                raise
            return _complain(message)
    return EXIT_DONE


def _complain(message: str) -> int:
    print(f"kidneyseg: {message}", file=sys.stderr)
    return EXIT_USER_ERROR


def _explain_os_error(error: OSError) -> str | None:
    """A sentence for what the machine refuses; None for anything else, which is a bug."""
    what = f" ({error.filename})" if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"The disk is full{what}. Free some space, or choose another folder with -o."
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"No permission{what}. Choose a folder that you may write to, or a file that you may read."
    return None


@contextmanager
def _cancel_on_signal(token: CancelToken) -> Iterator[list[int]]:
    """Ctrl-C (or a polite kill) asks the running command to stop; a second one stops at once.

    Yields:
        A list that holds the signal's number once it came.
    """
    came: list[int] = []

    def handle(number: int, _frame: FrameType | None) -> None:
        if came:
            raise KeyboardInterrupt
        came.append(number)
        token.cancel()
        print("\nkidneyseg: stopping (again to stop at once) ...", file=sys.stderr)

    signals = (signal.SIGINT, signal.SIGTERM)
    try:
        before = [signal.signal(number, handle) for number in signals]
    except ValueError:  # not in the main thread, as in some tests: then there is nobody to press Ctrl-C
        yield came
        return
    try:
        yield came
    finally:
        for number, handler in zip(signals, before, strict=True):
            signal.signal(number, handler)


@contextmanager
def _quiet_libraries() -> Iterator[None]:
    """Other libraries' warnings are not for the user; ``python -W`` and ``PYTHONWARNINGS`` bring them back."""
    import logging
    import warnings

    # Without any handler Python prints warnings of loggers to standard error itself.
    silence = logging.NullHandler()
    logging.getLogger().addHandler(silence)
    with warnings.catch_warnings():
        if not sys.warnoptions:
            warnings.simplefilter("ignore")
        try:
            yield
        finally:
            logging.getLogger().removeHandler(silence)


if __name__ == "__main__":
    sys.exit(main())
