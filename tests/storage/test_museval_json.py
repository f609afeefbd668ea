from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from storage.decoding.ffmpeg import put_ffmpeg_on_path
from storage.museval_json import METRICS, from_museval, to_museval


def scores() -> dict[str, dict[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    made = {s: {m: rng.normal(5, 3, size=4) for m in METRICS} for s in ("drums", "vocals")}
    made["drums"]["SDR"][1] = np.nan
    made["vocals"]["SIR"][2] = np.inf
    return made


def test_round_trip() -> None:
    read = from_museval(to_museval(scores(), 1.0, 1.0))
    for source, metrics in scores().items():
        for name, values in metrics.items():
            finite = np.where(np.isfinite(values), values, np.nan)
            assert np.array_equal(read[source][name], finite, equal_nan=True)


def test_museval_reads_it(tmp_path: Path) -> None:
    put_ffmpeg_on_path()
    import museval

    folder = tmp_path / "test"
    folder.mkdir()
    for song in ("A", "B"):
        (folder / f"{song}.json").write_bytes(to_museval(scores(), 1.0, 1.0))
    store = museval.EvalStore()
    store.add_eval_dir(tmp_path)
    medians = store.agg_frames_tracks_scores()
    expected = np.nanmedian(scores()["drums"]["SDR"])
    assert medians["drums"]["SDR"] == pytest.approx(expected)


def test_museval_wrote_it() -> None:
    put_ffmpeg_on_path()
    import museval

    store = museval.TrackStore("song")
    store.add_target("bass", {name: [1.5] for name in METRICS})
    assert from_museval(store.json)["bass"]["SDR"] == pytest.approx([1.5])


def one_frame(value: str) -> str:
    metrics = ", ".join(f'"{name}": {value}' for name in METRICS)
    return f'{{"targets": [{{"name": "bass", "frames": [{{"metrics": {{{metrics}}}}}]}}]}}'


@pytest.mark.parametrize(
    "content",
    [
        "{}", "[]", "nonsense", '{"targets": [{"name": "x"}]}', "[" * 100_000, b"\xff\xfe\xff",
        one_frame("1" * 400), one_frame("1" * 5_000), one_frame('"high"'), one_frame("[]"),
        '{"targets": [{"name": [], "frames": []}]}', '{"targets": [{"name": null, "frames": []}]}',
    ],
)  # fmt: skip
def test_something_else_is_refused(content: str | bytes) -> None:
    with pytest.raises(ValueError, match="not scores in museval's JSON"):
        from_museval(content)


def test_unknown_metrics_are_refused() -> None:
    with pytest.raises(ValueError, match="drums: metrics"):
        to_museval({"drums": {"SDR": np.zeros(1)}}, 1.0, 1.0)
