"""Remixes take stems of libraries beside those of the labelled songs."""

from __future__ import annotations

from pathlib import Path

from flows.ingest.flow import ingest
from flows.ingest.options import IngestParameters
from flows.remix.flow import remix
from flows.remix.options import RemixParameters
from storage.tables.manifests import Partition
from tests.flows.conftest import Finished, play, write


def test_remixes_take_stems_of_libraries(finished: Finished, tmp_path: Path) -> None:
    for seed in range(40, 52):
        for source, audio in play(seed).items():
            write(tmp_path / "library" / source / f"{seed}.wav", audio)
    place = finished.workspace.location
    ingest(
        IngestParameters(
            workspace=place, source=str(tmp_path / "library"), corpus="stems", labelled=True
        )
    )
    stems = {row["track_id"]: row for row in finished.rows("stems")}
    plain = remix(RemixParameters(workspace=place, remixes_per_segment=8))
    result = remix(RemixParameters(workspace=place, remixes_per_segment=8, libraries=["stems"]))
    assert result.fingerprint != plain.fingerprint
    rows = finished.manifests.rows(Partition("remixes", "music", result.fingerprint))
    added = [stem for row in rows for stem in row["added"]]
    from_library = [stem for stem in added if stems[stem["track_id"]]["song"].endswith(".wav")]
    assert 0 < len(from_library) < len(added)
    for stem in from_library:
        assert stems[stem["track_id"]]["source"] == stem["source"]
        assert stem["path"] == stems[stem["track_id"]]["path"]
        assert stem["num_samples"] <= stems[stem["track_id"]]["num_samples"]
