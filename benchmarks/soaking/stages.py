"""What the stages of a soak are given, and the stages run one by one, where nothing is killed."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.soaking.music import Music

_FIT = {"steps": 12, "batch_size": 4, "crop_s": 3.0}
_EVIDENCE = {"target_precision": 0.5, "min_songs": 2, "allow_insufficient_evidence": True}
FIELDS: dict[str, dict[str, Any]] = {
    "ingest": {"workers": 1, "batch_files": 1},
    "score": {"workers": 1, "batch_tracks": 1},
    "extract": {"workers": 1, "min_duration_s": 1.0, **_EVIDENCE},
}
"""Small batches, so that a run has several to be killed between."""


def fit_detector(root: Path, music: Music) -> None:
    """Make a workspace with a detector."""
    _in_process(_fit_detector, root, music, "")


def run_stages(root: Path, music: Music, address: str = "") -> None:
    """Ingest, score and extract every corpus in a workspace that has a detector.

    Args:
        root: the workspace.
        music: the corpora.
        address: of the Prefect server to do it on; empty takes one for the purpose.
    """
    _in_process(_run_stages, root, music, address)


def forget_settings() -> None:
    """Take Prefect's settings out of the environment: a soak has servers of its own."""
    for name in [name for name in os.environ if name.startswith("PREFECT")]:
        del os.environ[name]


def with_server(root: Path, work: Callable[[], None], address: str = "") -> None:
    """Work in this process, which has not imported Prefect yet, with a server of a workspace.

    Args:
        root: the workspace.
        work: what to do.
        address: of the server; empty starts one for the purpose.
    """
    from flows.server.login import put_login
    from flows.server.process import WorkspaceServer, configure_prefect

    forget_settings()
    configure_prefect(str(root), os.environ)
    if address:
        os.environ["PREFECT_API_URL"] = f"{address}/api"
        put_login(root / ".prefect", os.environ)
    else:
        WorkspaceServer(os.environ).wait()
    work()


def _in_process(
    work: Callable[[Path, Music], None], root: Path, music: Music, address: str
) -> None:
    """Work in a process of its own, since Prefect takes its settings once."""
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=with_server, args=(root, partial(work, root, music), address))
    process.start()
    process.join()
    if process.exitcode != 0:
        raise RuntimeError(f"{work.__name__.strip('_')} failed")


def _fit_detector(root: Path, music: Music) -> None:
    from flows.fit_detector.flow import fit_detector
    from flows.fit_detector.options import FitDetectorParameters
    from flows.ingest.flow import ingest
    from flows.ingest.options import IngestParameters

    place = {"workspace": str(root), "workers": 1}
    source = {"source": str(music.labelled), "corpus": "labelled", "labelled": True}
    music.write_labelled()
    ingest(IngestParameters.model_validate({**place, **source}))
    fit_detector(FitDetectorParameters.model_validate({**place, **_FIT, **_EVIDENCE}))


def _run_stages(root: Path, music: Music) -> None:
    from flows.extract.flow import extract
    from flows.extract.options import ExtractParameters
    from flows.ingest.flow import ingest
    from flows.ingest.options import IngestParameters
    from flows.running.execution import dask_client
    from flows.running.parameters import WorkParameters
    from flows.score.flow import score
    from flows.score.options import ScoreParameters

    with dask_client(WorkParameters(workspace=str(root), workers=1)):
        for corpus in music.corpora:
            place = {"workspace": str(root), "corpus": corpus}
            source = {"source": str(music.folder(corpus))}
            ingest(IngestParameters.model_validate({**place, **source, **FIELDS["ingest"]}))
            score(ScoreParameters.model_validate({**place, **FIELDS["score"]}))
            extract(ExtractParameters.model_validate({**place, **FIELDS["extract"]}))
