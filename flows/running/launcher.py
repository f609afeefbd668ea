"""Whether a launcher (torchrun, srun, a PyTorchJob) started this process as one of several."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from storage.errors import UserError

NEEDED = ("RANK", "MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True, kw_only=True)
class Launch:
    """One process of several, as its environment says.

    Attributes:
        rank: among all of them; the first is 0.
        size: number of processes.
        local_rank: among those of its machine.
        master: name or address of the first one's machine.
    """

    rank: int
    size: int
    local_rank: int
    master: str


def launched(environ: Mapping[str, str]) -> Launch | None:
    """What a launcher says of this process; None where there is none, or no other process.

    Raises:
        UserError: it says something that can't be, or not enough.

    >>> launched({"WORLD_SIZE": "1"}) is None
    True
    >>> launched({"WORLD_SIZE": "2", "RANK": "1", "MASTER_ADDR": "a", "MASTER_PORT": "29500"})
    Launch(rank=1, size=2, local_rank=0, master='a')
    """
    size = _number(environ, "WORLD_SIZE", "1")
    if size <= 1:
        return None
    missing = [name for name in NEEDED if name not in environ]
    if missing:
        raise UserError(
            f"WORLD_SIZE is {size}, as launchers of several processes set it, but "
            f"{' and '.join(missing)} is missing; set it, or unset WORLD_SIZE"
        )
    rank = _number(environ, "RANK", "")
    if not 0 <= rank < size:
        raise UserError(
            f"RANK is {rank}, and WORLD_SIZE {size}: ranks go from 0 to {size - 1}; mend what the "
            "launcher sets"
        )
    return Launch(
        rank=rank,
        size=size,
        local_rank=_number(environ, "LOCAL_RANK", "0"),
        master=environ["MASTER_ADDR"],
    )


def _number(environ: Mapping[str, str], name: str, default: str) -> int:
    told = environ.get(name, default)
    try:
        return int(told)
    except ValueError:
        raise UserError(f"{name} is {told!r}, and a launcher sets it to a number") from None
