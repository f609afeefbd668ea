"""Stems that are not what was ingested are learnt from by nobody."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from flows.inputs.intact import require_intact
from storage.damage import DamagedError
from storage.reading import MissingAudioError
from storage.tables.manifests import Manifests
from storage.workspace import Workspace
from tests.flows.conftest import Finished


def test_a_bit_of_a_stem_is_noticed(finished: Finished, tmp_path: Path) -> None:
    workspace = Workspace(str(tmp_path / "w"), create=True, music=finished.workspace.music)
    for folder in ("manifests/stems", "audio/labelled"):
        shutil.copytree(Path(finished.workspace.root) / folder, tmp_path / "w" / folder)
    manifests = Manifests(workspace)
    stems = manifests.partitions("stems")
    require_intact(manifests, stems, "train", "valid", "test")
    row = next(row for row in manifests.rows(stems[0]) if row["split"] == "train")
    whole = bytearray(workspace.read(row["path"]))
    whole[len(whole) // 2] ^= 1
    workspace.put_bytes(row["path"], bytes(whole))
    require_intact(manifests, stems, "valid")
    with pytest.raises(DamagedError, match=f"{row['path']}: damaged .holds other samples"):
        require_intact(manifests, stems, "train")
    workspace.remove(row["path"])
    with pytest.raises(MissingAudioError, match=f"{row['path']} is missing; `silentmix fsck`"):
        require_intact(manifests, stems, "train")
