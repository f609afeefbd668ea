"""One thing that is wrong in a workspace."""

from __future__ import annotations

from pydantic import BaseModel

Paths = tuple[str, ...]


class Finding(BaseModel, frozen=True):
    """What is wrong with a file or a row.

    Attributes:
        kind: one word to count by.
        what: the file, relative to the workspace, or the rows.
        why: what is wrong with it.
        corpus: that it belongs to; empty where it belongs to none.
        made: fingerprint of the partition, or id of the detector or model, that it is about.
        tables: manifests whose rows it is about: what was made of them is touched.
        track_id: of the track or song whose audio it is.
        stages: that make it again.
        put_away: files that ``--repair`` moves into the quarantine.
    """

    kind: str
    what: str
    why: str
    corpus: str = ""
    made: str = ""
    tables: Paths = ()
    track_id: str = ""
    stages: Paths = ()
    put_away: Paths = ()
