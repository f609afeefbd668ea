"""What Prefect and Dask cost a track: ``python -m benchmarks.overhead [--tracks 10000]``.

A stage run like any other, on a Prefect server of its own: its record in the manifest ``runs``, its
turn, its progress, batches of tracks on local Dask workers under Prefect task runs. The work on a
track is next to nothing, so nearly all of the time is theirs; what the work alone takes in a plain
loop is subtracted. Starting the Dask workers counts, starting the server does not, since one that
stands is started once. The last line is JSON: ``ms_per_track``, and the seconds of both sides.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Sequence

from flows.server.process import WorkspaceServer, configure_prefect


def digest_tracks(batch: Sequence[int]) -> list[str]:
    """The work: a hash a track."""
    return [hashlib.sha256(str(track).encode()).hexdigest() for track in batch]


def stage(folder: str, tracks: int, batch_size: int, workers: int) -> float:
    """Seconds that a stage run takes on so many tracks."""
    # not before the settings are in place
    from prefect import flow

    from flows.running.execution import dask_client, pending_batches, run_batches
    from flows.running.parameters import StageParameters
    from flows.running.progress import progress
    from flows.running.stage import stage_run
    from storage.workspace import Workspace

    parameters = StageParameters(workspace=folder, workers=workers)
    workspace = Workspace(folder, create=True)

    @flow(name="overhead")
    def overhead() -> int:
        with stage_run(
            "overhead", parameters, corpus="music", fingerprint="f0", workspace=workspace
        ) as run:
            batches = pending_batches(range(tracks), set(), batch_size, str)
            with dask_client(parameters) as client, progress("overhead", tracks, "tracks") as bar:
                for made in run_batches(client, digest_tracks, batches, bar, len):
                    run.count(tracks=len(made))
            return int(run.counts["tracks"])

    started = time.perf_counter()
    assert overhead() == tracks
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description="what Prefect and Dask cost a track")
    parser.add_argument("--tracks", type=int, default=10_000)
    parser.add_argument("--batch-size", type=int, default=16, help="the stages' own default")
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        configure_prefect(folder, os.environ)
        WorkspaceServer(os.environ).wait()
        took_s = stage(folder, args.tracks, args.batch_size, args.workers)
    started = time.perf_counter()
    digest_tracks(range(args.tracks))
    plain_s = time.perf_counter() - started
    print(f"{args.tracks} tracks in batches of {args.batch_size}, {args.workers} workers")
    print(f"stage run {took_s:.2f} s, plain loop {plain_s:.2f} s")
    ms_per_track = round((took_s - plain_s) * 1000 / args.tracks, 3)
    result = {"name": "overhead", "ms_per_track": ms_per_track}
    print(json.dumps({**result, "stage_s": round(took_s, 2), "plain_s": round(plain_s, 4)}))


if __name__ == "__main__":
    main()
