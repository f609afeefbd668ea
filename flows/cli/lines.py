"""What commands say in a line: what they made, and what is wrong."""

from __future__ import annotations

import sys

from rich.console import Console

from storage.addresses import without_secrets
from storage.printable import shown


def say(line: str) -> None:
    """A line of the output, such as a path: as it is, and in one piece."""
    Console().print(shown(line), soft_wrap=True, markup=False, highlight=False)


def complain(problem: object) -> None:
    """A line of the errors; of an address with a secret in it, where that led."""
    line = without_secrets(" ".join(str(problem).split()))
    print(f"silentmix: {shown(line)}", file=sys.stderr)
