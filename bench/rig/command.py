"""What the commands of this folder have in common: their numbers, their ends."""

from __future__ import annotations

import argparse
import sys
from typing import Callable

from .process import Failed, Rig


def at_least(least: int) -> Callable[[str], int]:
    """The type of an argument that is a whole number from `least` on."""

    def number(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"a whole number from {least} on is wanted, not {text!r}")
        return int(text)

    return number


def status_of(work: Callable[[], int]) -> int:
    """Does the work of a command; the exit status. What could not be done is said in a line, and so is Ctrl-C."""
    try:
        return work()
    except KeyboardInterrupt:
        print("\nInterrupted: everything that was started is gone.", file=sys.stderr)
        return 130
    except Failed as error:
        print(f"\n{error}", file=sys.stderr)
        return 1


def in_rig(what: str, work: Callable[[Rig], int]) -> int:
    """The same in a rig of its own, which is gone afterwards."""

    def with_rig() -> int:
        with Rig(what) as rig:
            return work(rig)

    return status_of(with_rig)
