"""Evaluating models and comparing them: on two short songs, and on scores made up for the test."""

from __future__ import annotations

import csv
import html
import io
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from prefect.settings import PREFECT_API_URL
from rich.console import Console

from demucs_core.separators.registry import build_model, config_of
from flows.evaluate.flow import Evaluation, evaluate
from flows.evaluate.options import EvaluateParameters
from flows.evaluate.summary import ComparisonSummary, print_comparison
from flows.ingest.flow import ingest
from flows.ingest.options import IngestParameters
from flows.inputs import networks, registry
from flows.inputs.given_names import give_name
from flows.reports.artifacts import MAX_ARTIFACT_BYTES
from storage.decoding.ffmpeg import put_ffmpeg_on_path
from storage.errors import UserError
from storage.fingerprint import fingerprint
from storage.museval_folder import result_path
from storage.museval_json import METRICS, to_museval
from storage.music_format import MusicFormat
from storage.tables.manifests import Manifests, Partition
from storage.workspace import Workspace
from tests.flows.conftest import play, write

MUSIC = MusicFormat()
SAMPLE_RATE = MUSIC.sample_rate
SOURCES = MUSIC.sources

SECONDS = 4
CORPUS = "labelled"


def store_model(workspace: Workspace, name: str, *, seed: int, weak_share: float) -> None:
    model = build_model(
        {**asdict(MUSIC), "architecture": "demucs", "channels": 4, "depth": 3}, seed=seed
    )
    description = {"model": config_of(model), "training": {"weak_share": weak_share}}
    networks.store(workspace, "models", name, model, description)


def rows(workspace: Workspace, table: str) -> list[dict[str, Any]]:
    manifests = Manifests(workspace)
    return [row for part in manifests.partitions(table) for row in manifests.rows(part)]


def run(workspace: Workspace, **changes: Any) -> Evaluation:
    fields = {"workspace": workspace.location, "workers": 1, "device": "cpu", **changes}
    return evaluate(EvaluateParameters(**fields))


def compared(evaluation: Evaluation) -> ComparisonSummary:
    assert evaluation.comparison is not None
    return evaluation.comparison


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A song to train on and two test songs, short ones."""
    root = tmp_path_factory.mktemp("short")
    for seed, (split, song) in enumerate(
        (("train", "Train"), ("test", "Ann - [One] (live)"), ("test", "Bob - Two. Été"))
    ):
        rng = np.random.default_rng(seed)
        stems = {
            # tones without noise nearly depend on each other, and BSSEval then takes long
            name: audio[: SECONDS * SAMPLE_RATE] + noise(rng)
            for name, audio in play(seed + 40).items()
        }
        for name, audio in stems.items():
            write(root / split / song / f"{name}.wav", audio)
        write(root / split / song / "mixture.wav", np.sum(list(stems.values()), axis=0))
    return root


def noise(rng: np.random.Generator) -> np.ndarray:
    return rng.normal(0, 0.003, size=(SECONDS * SAMPLE_RATE, 2)).astype(np.float32)


def new_workspace(labelled: Path, folder: Path) -> Workspace:
    workspace = Workspace(str(folder), create=True)
    parameters = {"workspace": str(folder), "workers": 1, "source": str(labelled)}
    ingest(IngestParameters(**parameters, corpus=CORPUS, labelled=True))
    return workspace


@pytest.fixture(scope="module")
def evaluated(
    labelled: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Workspace, Evaluation]:
    """Two models with random weights, evaluated. Tests may add to it, and change nothing in it."""
    workspace = new_workspace(labelled, tmp_path_factory.mktemp("evaluated") / "w")
    store_model(workspace, "plain", seed=1, weak_share=0.0)
    store_model(workspace, "mixed", seed=2, weak_share=0.5)
    return workspace, run(workspace)


def test_each_model_has_its_partition_its_run_and_its_line(
    evaluated: tuple[Workspace, Evaluation],
) -> None:
    workspace, evaluation = evaluated
    partitions = Manifests(workspace).partitions("evaluations")
    made = {result.fingerprint for result in evaluation.results}
    assert {part.fingerprint for part in partitions} == made
    assert len(made) == 2
    runs = [row for row in rows(workspace, "runs") if row["stage"] == "evaluate"]
    assert sorted(json.loads(row["parameters"])["models"] for row in runs) == [["mixed"], ["plain"]]
    assert {row["outcome"] for row in runs} == {"completed"}
    found = {
        (row["model_id"], row["song"], row["source"]) for row in rows(workspace, "evaluations")
    }
    assert len(found) == 2 * 2 * 4
    summary = compared(evaluation)
    assert summary.reference == "plain"
    assert [each.name for each in summary.methods] == ["plain", "mixed"]
    assert summary.num_songs == 2
    assert [verdict.source for verdict in summary.verdicts] == ["mean", *SOURCES]


def test_a_model_keeps_its_fingerprint_whatever_it_is_compared_to(
    evaluated: tuple[Workspace, Evaluation],
) -> None:
    _, evaluation = evaluated
    options = {"segment_s": 10.0, "overlap": 0.25, "shifts": 0}
    assert [result.fingerprint for result in evaluation.results] == [
        fingerprint("evaluate", 1, model=model, **options) for model in ("mixed", "plain")
    ]


def test_the_figures_are_musevals(evaluated: tuple[Workspace, Evaluation]) -> None:
    put_ffmpeg_on_path()
    import museval

    workspace, evaluation = evaluated
    store = museval.MethodStore()
    for name, result in zip(("mixed", "plain"), evaluation.results, strict=True):
        folder = f"{workspace.location}/reports/museval/{CORPUS}/{result.fingerprint}/{name}"
        store.add_eval_dir(folder)
    assert set(store.df["track"]) == {"Ann - [One] (live)", "Bob - Two. Été"}
    theirs = store.agg_frames_tracks_scores()
    for each in compared(evaluation).methods:
        for source in SOURCES:
            assert each.sdr_db[source] == pytest.approx(theirs[each.name][source]["SDR"])
    paths = {row["museval_path"] for row in rows(workspace, "evaluations")}
    assert paths == {path for path in workspace.find("reports/museval") if path.endswith(".json")}


def test_the_report_is_in_files_and_in_the_ui(evaluated: tuple[Workspace, Evaluation]) -> None:
    workspace, evaluation = evaluated
    folder = compared(evaluation).folder
    files = {path.removeprefix(f"{folder}/") for path in workspace.find(folder)}
    sounds = {f"{source}-{kind}.mp3" for source in SOURCES for kind in ("truth", "estimate")}
    sounds |= {"mixture.mp3"}
    songs = sounds | {name.replace(".mp3", "-spectrogram.png") for name in sounds}
    songs |= {"report.md", "index.html"}
    expected = {f"{place}/{name}" for place in ("best", "worst") for name in songs}
    expected |= {"sdr.json", "sdr.png", "songs.csv", "report.md", "index.html", "comparison.json"}
    expected |= {"differences.json", "differences.csv", "differences.png"}
    assert files == expected
    scores = list(csv.DictReader(io.StringIO(workspace.read(f"{folder}/songs.csv").decode())))
    assert len(scores) == 2 * 2 * 4
    assert np.isfinite([float(row["sdr_db"]) for row in scores]).any()
    keys = ["comparison-sdr", "comparison-differences", "comparison-report"]
    keys += ["evaluate-best-report", "evaluate-worst-report"]
    answer = httpx.post(
        f"{PREFECT_API_URL.value()}/artifacts/filter", json={"artifacts": {"key": {"any_": keys}}}
    )
    found = {artifact["key"]: str(artifact["data"]) for artifact in answer.json()}
    assert set(found) == set(keys)
    played = found["evaluate-best-report"]
    assert len(played) < MAX_ARTIFACT_BYTES
    assert played.count("<audio controls") == 1 + 2 * len(SOURCES)
    page = workspace.read("reports/index.html").decode()
    assert f'href="{folder.removeprefix("reports/")}/index.html"' in page


def test_running_again_makes_nothing(evaluated: tuple[Workspace, Evaluation]) -> None:
    workspace, evaluation = evaluated
    before = workspace.find("reports"), workspace.find("manifests/evaluations")
    again = run(workspace)
    assert all(result.already_done for result in again.results)
    assert compared(again) == compared(evaluation)
    assert (workspace.find("reports"), workspace.find("manifests/evaluations")) == before


def test_a_song_that_was_lost_is_made_again_the_same(
    evaluated: tuple[Workspace, Evaluation],
) -> None:
    workspace, evaluation = evaluated
    manifests = Manifests(workspace)
    partition = Partition("evaluations", CORPUS, evaluation.results[0].fingerprint)
    part, kept = manifests.parts(partition)
    before, stamp = workspace.read(part), Path(workspace.url(kept)).stat().st_mtime_ns
    workspace.remove(part)
    again = run(workspace)
    assert again.results[0].counts["songs"] == 1
    assert workspace.read(part) == before
    assert Path(workspace.url(kept)).stat().st_mtime_ns == stamp


def test_what_cannot_be_scored_is_rejected_by_name_and_the_rest_goes_on(
    labelled: Path, tmp_path: Path
) -> None:
    workspace = new_workspace(labelled, tmp_path / "w")
    store_model(workspace, "plain", seed=1, weak_share=0.0)
    [stem] = [
        row
        for row in rows(workspace, "stems")
        if row["song"] == "Bob - Two. Été" and row["source"] == "bass"
    ]
    content = workspace.read(stem["path"])
    workspace.remove(stem["path"])
    evaluation = run(workspace)
    [result] = evaluation.results
    assert (result.counts["songs"], result.counts["rejected"]) == (1, 1)
    [reject] = rows(workspace, "rejects")
    assert (reject["stage"], reject["item"]) == ("evaluate", stem["track_id"])
    assert reject["reason"] == "missing_audio"
    assert reject["detail"].startswith(f"Bob - Two. Été: bass: {stem['path']} is missing")
    assert compared(evaluation).num_songs == 1
    assert "1 of 2 songs without scores" in compared(evaluation).notes[0]

    workspace.put_bytes(stem["path"], content)  # what can be mended is tried again
    assert compared(run(workspace)).num_songs == 2
    assert rows(workspace, "rejects") == []

    broken = build_model(
        {**asdict(MUSIC), "architecture": "demucs", "channels": 4, "depth": 3}, seed=1
    )
    with torch.no_grad():
        next(broken.parameters()).fill_(float("nan"))
    description = registry.describe(workspace, "models", "plain")
    networks.store(workspace, "models", "broken", broken, description)
    with pytest.raises(UserError) as refusal:
        run(workspace, models=["broken"])
    assert "model 'broken': none of the 2 test songs has scores: " in str(refusal.value)
    assert "drums: the estimate holds NaN" in str(refusal.value)
    both = compared(run(workspace))  # what can't is not, and the other model is there
    assert [each.name for each in both.methods] == ["plain"]
    assert any("broken" in note and "left out" in note for note in both.notes)
    last = [row for row in rows(workspace, "runs") if row["stage"] == "evaluate"]
    assert {row["outcome"] for row in last} == {"completed"}


@dataclass(frozen=True)
class MadeUp:
    """A workspace of models that were never run: their scores are made up."""

    workspace: Workspace
    songs: tuple[str, ...]

    def sdr(self, seed: int, above: float) -> np.ndarray:
        """Scores ``(N, S)`` that lie ``above`` the same songs' scores, or about so."""
        songs = np.random.default_rng(0).normal(4, 2, size=(len(self.songs), 4))
        return songs + np.random.default_rng(seed).normal(above, 0.2, size=songs.shape)

    def score(self, model: str, sdr: np.ndarray, weak_share: float) -> None:
        store_model(self.workspace, model, seed=0, weak_share=weak_share)
        options = {"segment_s": 10.0, "overlap": 0.25, "shifts": 0}
        partition = Partition(
            "evaluations", CORPUS, fingerprint("evaluate", 1, model=model, **options)
        )
        for song, values in zip(self.songs, sdr, strict=True):
            made = [
                {
                    "model_id": model, "track_id": f"id {song}", "song": song, "source": source,
                    "sdr_db": value, "isr_db": value, "sir_db": value, "sar_db": value,
                    "song_sdr_db": value, "museval_path": "nowhere",
                }
                for source, value in zip(SOURCES, values, strict=True)
            ]  # fmt: skip
            Manifests(self.workspace).write(partition, [f"id {song}"], made)

    def publish(self, folder: Path, sdr: np.ndarray, songs: tuple[str, ...]) -> str:
        """Write a folder of results as museval would."""
        for song, values in zip(songs, sdr, strict=False):
            scores = {
                source: {name: np.array([value, value]) for name in METRICS}
                for source, value in zip(SOURCES, values, strict=True)
            }
            path = Path(result_path(str(folder), song))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(to_museval(scores, 1.0, 1.0))
        return str(folder)


@pytest.fixture
def made_up(tmp_path: Path) -> MadeUp:
    workspace = Workspace(str(tmp_path / "w"), create=True)
    songs = tuple(f"Band {number:02} - Song" for number in range(14))
    stems = [
        {
            "track_id": f"id {song}", "song": song, "split": "test", "source": source,
            "path": f"audio/{CORPUS}/{song}/{source}.wav", "source_url": "", "num_samples": 9,
            "sample_rate": SAMPLE_RATE, "duration_s": 1.0, "gain_db": 0.0, "level_db": 0.0,
            "content_hash": song, "take_urls": "", "padded_s": 0.0, "residual_db": -120.0,
        }
        for song in songs
        for source in (*SOURCES, "mixture")
    ]  # fmt: skip
    Manifests(workspace).write(Partition("stems", CORPUS, "f1"), songs, stems)
    return MadeUp(workspace, songs)


def printed(evaluation: Evaluation) -> str:
    console = Console(file=io.StringIO(), width=200)
    print_comparison(compared(evaluation), evaluation.location, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_better_is_said_where_it_is_shown(made_up: MadeUp) -> None:
    made_up.score("a-mixed", made_up.sdr(1, 0.5), 0.5)
    made_up.score("b-plain", made_up.sdr(2, 0.0), 0.0)
    made_up.score("c-other", made_up.sdr(3, 0.0), 0.5)
    evaluation = run(made_up.workspace)
    assert compared(evaluation).reference == "b-plain"
    text = printed(evaluation)
    assert "a-mixed (50% remixes) against b-plain (labelled songs alone):" in text
    verdicts = {(each.method, each.source): each for each in compared(evaluation).verdicts}
    assert verdicts["a-mixed", "mean"].shown
    assert verdicts["a-mixed", "mean"].sentence.startswith("better by 0.4")
    assert f"  mean   {verdicts['a-mixed', 'mean'].sentence}\n" in text
    assert not verdicts["c-other", "mean"].shown
    assert "no difference shown" in verdicts["c-other", "mean"].sentence
    report = made_up.workspace.read(f"{compared(evaluation).folder}/report.md").decode()
    assert html.escape(verdicts["a-mixed", "mean"].sentence) in report


def test_models_that_heard_different_remixes_are_told_apart(made_up: MadeUp) -> None:
    workspace = made_up.workspace
    for number, (model, share) in enumerate((("a", 0.5), ("b", 0.5), ("c", 0.5), ("d", 0.0))):
        made_up.score(model, made_up.sdr(number, 0.0), share)
    plain = compared(run(workspace))
    assert [each.label for each in plain.methods] == [
        "d (labelled songs alone)", "a (50% remixes)", "b (50% remixes)", "c (50% remixes)"
    ]  # fmt: skip
    for model, corpora in {"a": ["music"], "b": ["demo-truth"], "c": ["x", "y", "z"]}.items():
        path = f"models/{model}/{registry.DESCRIPTION}"
        made_from = {f"remixes/{corpus}/f1": "digest" for corpus in corpora}
        workspace.put_json(path, workspace.read_json(path) | {"made_from": made_from})
    give_name(workspace, "models", "a", "best-live")
    told = compared(run(workspace))
    assert [each.label for each in told.methods] == [
        "d (labelled songs alone)", "best-live (50% remixes of music)",
        "b (50% remixes of demo-truth)", "c (50% remixes of x, y and 1 more)",
    ]  # fmt: skip
    assert told.folder != plain.folder, "a report that is there keeps the labels it has"
    assert "best-live (50% remixes of music)" in workspace.read(f"{told.folder}/report.md").decode()


def test_the_reference_and_the_models_can_be_chosen(made_up: MadeUp) -> None:
    for name in ("a", "b", "c"):
        made_up.score(name, made_up.sdr(1, 0), 0.5)
    assert compared(run(made_up.workspace)).reference == "a"  # none was trained on songs alone
    chosen = compared(run(made_up.workspace, models=["c", "b", "c"], compare_to="b"))
    assert [each.name for each in chosen.methods] == ["b", "c"]
    with pytest.raises(UserError, match=r"compare_to 'a': is not among .* are b, c"):
        run(made_up.workspace, models=["b", "c"], compare_to="a")
    with pytest.raises(UserError, match="no finished model 'd'; there are a, b, c"):
        run(made_up.workspace, models=["b", "d"])


def test_published_results_stand_beside_on_the_songs_in_common(
    made_up: MadeUp, tmp_path: Path
) -> None:
    made_up.score("plain", made_up.sdr(1, 0.0), 0.0)
    theirs = made_up.publish(
        tmp_path / "UMX", made_up.sdr(2, 1.0)[:10], (*made_up.songs[:10], "Unknown")
    )
    evaluation = run(made_up.workspace, published=[theirs, f"{theirs}/"])
    summary = compared(evaluation)
    assert [each.label for each in summary.methods][1] == "UMX (published)"
    assert summary.num_songs == 10
    for each, sdr in zip(summary.methods, (made_up.sdr(1, 0), made_up.sdr(2, 1)), strict=False):
        medians = np.median(sdr[:10], axis=0)
        assert [each.sdr_db[source] for source in SOURCES] == pytest.approx(medians.tolist())
    assert summary.methods[1].song_sdr_db["mean"] is None
    assert summary.verdicts[0].shown
    text = printed(evaluation)
    assert "note: UMX (published): has 10 of the 14 test songs" in text
    assert "compared on the 10 songs that all have; left out: Band 10 - Song, " in text
    reversed_ = compared(run(made_up.workspace, published=[theirs], compare_to="UMX"))
    assert reversed_.verdicts[0].sentence.startswith("worse by")


def test_runs_of_one_published_method_are_averaged(made_up: MadeUp, tmp_path: Path) -> None:
    made_up.score("plain", made_up.sdr(1, 0.0), 0.0)
    runs = [made_up.sdr(seed, 1.0) for seed in (2, 3, 4)]
    for seed, sdr in enumerate(runs):
        songs = made_up.songs if seed else made_up.songs[:10]
        made_up.publish(tmp_path / "demucs" / f"seed{seed}", sdr[: len(songs)], songs)
    summary = compared(run(made_up.workspace, published=[f"{tmp_path}/demucs/*"]))
    assert summary.num_songs == 10
    theirs = summary.methods[1]
    assert theirs.label == "demucs (published, mean of 3 runs)"
    medians = np.mean([np.median(sdr[:10], axis=0) for sdr in runs], axis=0)
    assert [theirs.sdr_db[source] for source in SOURCES] == pytest.approx(medians.tolist())
    differences = (np.mean(runs, axis=0) - made_up.sdr(1, 0.0))[:10].mean(axis=1)
    assert summary.verdicts[0].median_db == pytest.approx(np.median(differences))
    with pytest.raises(UserError, match=r"published: .*umx\*: no folder has such a name"):
        run(made_up.workspace, published=[f"{tmp_path}/umx*"])


def test_published_results_that_do_not_fit_are_refused_before_any_work(
    made_up: MadeUp, tmp_path: Path
) -> None:
    store_model(made_up.workspace, "plain", seed=0, weak_share=0.0)  # its songs have no audio
    strange = made_up.publish(tmp_path / "strange", made_up.sdr(1, 0), ("Unknown",))
    with pytest.raises(UserError, match=r"strange': has none of the 14 test songs \(such as 'Band"):
        run(made_up.workspace, published=[strange])
    with pytest.raises(UserError, match=r"published: /no/such: no such folder"):
        run(made_up.workspace, published=["/no/such"])
    assert [row["outcome"] for row in rows(made_up.workspace, "runs")] == ["failed"] * 2


def test_results_without_a_song_in_common_are_refused(made_up: MadeUp, tmp_path: Path) -> None:
    made_up.score("plain", made_up.sdr(1, 0.0), 0.0)
    first = made_up.publish(tmp_path / "first", made_up.sdr(1, 0), made_up.songs[:7])
    second = made_up.publish(tmp_path / "second", made_up.sdr(1, 0), made_up.songs[7:])
    with pytest.raises(UserError, match="no test song has scores of all of plain, first, second"):
        run(made_up.workspace, published=[first, second])


def test_without_a_model_there_is_nothing_to_evaluate(made_up: MadeUp) -> None:
    with pytest.raises(
        UserError, match=r"no model yet; run `silentmix train --workspace .*` first"
    ):
        run(made_up.workspace)
