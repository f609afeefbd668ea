"""BSSEval v4 against museval itself, on short tracks and with few taps where that shows as much."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import signal

from demucs_core.metrics import bsseval
from demucs_core.metrics import distortion_filters as bsseval_filters
from demucs_core.metrics import window_energies as bsseval_windows
from demucs_core.metrics.bsseval import (
    ROUNDING_DB,
    BssScores,
    bss_eval,
    bss_eval_streamed,
    match_length,
    song_sdr,
)
from demucs_core.metrics.museval_filters import museval_filters
from storage.decoding.ffmpeg import put_ffmpeg_on_path

FloatArray = NDArray[np.float64]

MUSDB = Path(__file__).parents[4] / "shared" / "audio" / "musdb7"


@pytest.fixture(scope="module")
def museval() -> Any:
    put_ffmpeg_on_path()
    import museval

    return museval


def tracks(
    sources: int, channels: int, num_samples: int, seed: int = 0
) -> tuple[FloatArray, FloatArray]:
    """Make noise as references; as estimates, a filtered source, leakage and noise."""
    rng = np.random.default_rng(seed)
    references = rng.standard_normal((sources, channels, num_samples))
    return references, degrade(references, rng)


def degrade(references: FloatArray, rng: np.random.Generator) -> FloatArray:
    filtered = references + 0.3 * np.roll(references, 3, axis=-1)
    noise = 0.1 * rng.standard_normal(references.shape)
    return np.asarray(0.8 * filtered + 0.1 * references.sum(0) + noise)


def judge(
    museval: Any,
    references: NDArray[Any],
    estimates: NDArray[Any],
    window: int = 1500,
    hop: int = 1500,
    taps: int = 24,
) -> FloatArray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy's, of a name that museval uses
        scores = museval.metrics.bss_eval(
            references.transpose(0, 2, 1),
            estimates.transpose(0, 2, 1),
            window=window,
            hop=hop,
            filters_len=taps,
        )
    return np.stack(scores[:4])


def stacked(scores: BssScores) -> FloatArray:
    return np.stack([scores.sdr, scores.isr, scores.sir, scores.sar])


def assert_same(ours: FloatArray, theirs: FloatArray, decibels: float = 1e-6) -> None:
    assert ours.shape == theirs.shape
    assert ours.dtype == np.float64
    finite = np.isfinite(theirs)
    np.testing.assert_array_equal(ours[~finite], theirs[~finite])
    assert np.isfinite(ours[finite]).all()
    rounding = finite & (theirs > ROUNDING_DB)
    assert (ours[rounding] > ROUNDING_DB).all()
    np.testing.assert_allclose(
        ours[finite & ~rounding], theirs[finite & ~rounding], rtol=0, atol=decibels
    )


def check(museval: Any, references: NDArray[Any], estimates: NDArray[Any], **kwargs: int) -> None:
    names = {"window": "window_samples", "hop": "hop_samples", "taps": "filter_samples"}
    options = {"window": 1500, "hop": 1500, "taps": 24, **kwargs}
    mine: dict[str, Any] = {names[name]: value for name, value in options.items()}
    theirs = judge(museval, references, estimates, **options)
    assert_same(stacked(bss_eval(references, estimates, **mine)), theirs)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_any_shape_window_and_level_agrees(museval: Any, data: st.DataObject) -> None:
    sources, channels = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 3))
    num_samples = data.draw(st.integers(600, 4000))
    references, estimates = tracks(sources, channels, num_samples, data.draw(st.integers(0, 99)))
    for audio in (references, estimates):
        for _ in range(data.draw(st.integers(0, 2))):
            start = data.draw(st.integers(0, num_samples // 2))
            stop = start + data.draw(st.integers(1, num_samples // 3))
            audio[data.draw(st.integers(0, sources - 1)), :, start:stop] = 0
    references *= 10 ** data.draw(st.floats(-5, 4))
    check(
        museval,
        references,
        estimates,
        window=data.draw(st.integers(50, 5000)),
        hop=data.draw(st.integers(40, 3000)),
        taps=data.draw(st.integers(1, 40)),
    )


def test_all_taps_and_several_chunks_agree(museval: Any) -> None:
    references, estimates = tracks(2, 2, 150_000)
    references[1, :, 50_000:60_000] = 0
    check(museval, references, estimates, window=44_100, hop=22_050, taps=512)


@pytest.mark.parametrize("kind", ["reference", "estimate", "antiphase"])
def test_frames_with_a_silent_source_are_nan(museval: Any, kind: str) -> None:
    references, estimates = tracks(2, 2, 9000)
    silenced = estimates if kind == "estimate" else references
    if kind == "antiphase":
        silenced[1, 1, 1400:3100] = -silenced[1, 0, 1400:3100]
    else:
        silenced[1, :, 1400:3100] = 0
    check(museval, references, estimates)
    scores = bss_eval(
        references, estimates, window_samples=1500, hop_samples=1500, filter_samples=24
    )
    nan = [[False, True, False, False, False, False]] * 2
    for each in stacked(scores):
        np.testing.assert_array_equal(np.isnan(each), nan)


@pytest.mark.parametrize("gain", [1, -1, 0.25])
def test_identical_and_inverted_estimates_agree(museval: Any, gain: float) -> None:
    references, _ = tracks(2, 2, 6000)
    check(museval, references, gain * references)


def test_one_source_has_no_interference(museval: Any) -> None:
    references, estimates = tracks(1, 2, 6000)
    check(museval, references, estimates)
    assert np.all(bss_eval(references, estimates, window_samples=1500).sir == np.inf)


def channel_twice(references: FloatArray) -> FloatArray:
    references[0, 1] = references[0, 0]
    return references


def channel_fainter(references: FloatArray) -> FloatArray:
    references[0, 1] = 0.3 * references[0, 0]
    return references


def channel_silent(references: FloatArray) -> FloatArray:
    references[1, 0] = 0
    return references


def source_twice(references: FloatArray) -> FloatArray:
    references[1] = references[0]
    return references


def band_limited(references: FloatArray) -> FloatArray:
    taps = signal.firwin(301, 0.7, window=("kaiser", 15))
    return np.asarray(signal.oaconvolve(references, taps[None, None], mode="same", axes=-1))


def less_band_limited(references: FloatArray) -> FloatArray:
    taps = signal.firwin(301, 0.7, window=("kaiser", 8))
    return np.asarray(signal.oaconvolve(references, taps[None, None], mode="same", axes=-1))


def sixteen_bit(references: FloatArray) -> FloatArray:
    return np.round(3000 * band_limited(references)) / 32768


def single_precision(references: FloatArray) -> FloatArray:
    return np.asarray(band_limited(references).astype(np.float32), dtype=np.float64)


@pytest.mark.parametrize(
    "degenerate",
    [
        channel_twice,
        channel_fainter,
        channel_silent,
        source_twice,
        band_limited,
        less_band_limited,
        sixteen_bit,
        single_precision,
    ],
)
def test_singular_systems_agree(museval: Any, degenerate: Any) -> None:
    references = degenerate(tracks(2, 2, 12_000)[0])
    estimates = degrade(references, np.random.default_rng(1))
    check(museval, references, estimates, taps=64, window=4000, hop=4000)


def test_an_exactly_singular_system_falls_back_to_least_squares(
    museval: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    references = np.zeros((2, 1, 4096 - 15))
    references[:, :, 0] = 4
    estimates = 0.1 * np.random.default_rng(0).standard_normal(references.shape)
    # museval catches the error under a name that numpy 2.4 no longer has, and crashes.
    monkeypatch.setattr(np.linalg, "linalg", np.linalg, raising=False)
    calls = []
    lstsq = np.linalg.lstsq

    def counted(*args: Any) -> Any:
        calls.append(args)
        return lstsq(*args)

    monkeypatch.setattr(np.linalg, "lstsq", counted)
    theirs = judge(museval, references, estimates, window=10_000, taps=16)
    assert calls, "museval did not fall back: choose another singular system"
    calls.clear()
    ours = bss_eval(references, estimates, window_samples=10_000, filter_samples=16)
    assert calls
    assert_same(stacked(ours), theirs)


def test_exact_filters_are_those_of_museval_bit_for_bit(museval: Any) -> None:
    references, estimates = tracks(2, 2, 5000)
    filters = museval_filters(torch.from_numpy(references), torch.from_numpy(estimates), 32)
    swapped = references.transpose(0, 2, 1)
    correlations, spectra = museval.metrics._compute_reference_correlations(swapped, 32)
    for source, estimate in enumerate(estimates):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            joint = museval.metrics._compute_projection_filters(correlations, spectra, estimate.T)
        columns = slice(2 * source, 2 * source + 2)
        np.testing.assert_array_equal(filters.joint[..., columns], joint.reshape(4, 32, 2))


def single_precision_filters(num_samples: int) -> tuple[FloatArray, FloatArray]:
    """What a lossy codec leaves in float32: a band that holds nothing but rounding."""
    references = single_precision(tracks(2, 2, num_samples)[0])
    return references, degrade(references, np.random.default_rng(1))


def test_what_rounding_decides_is_told(museval: Any) -> None:
    references, estimates = single_precision_filters(12_000)
    options: dict[str, Any] = {"window_samples": 4000, "filter_samples": 64}
    fast = bss_eval(references, estimates, exact=False, **options)
    theirs, scaled = (
        judge(museval, gain * references, gain * estimates, taps=64, window=4000, hop=4000)
        for gain in (1, 0.7310585)
    )
    noise = np.abs(theirs - scaled).max()
    assert noise > 1e-6, "museval is stable here: choose fainter rounding"
    assert noise < fast.rounding_db
    assert np.abs(stacked(fast) - theirs).max() < fast.rounding_db
    np.testing.assert_allclose(fast.sdr, theirs[0], rtol=0, atol=1e-9)


@pytest.mark.parametrize("degenerate", [channel_fainter, source_twice])
def test_fast_filters_of_singular_systems_agree_all_the_same(museval: Any, degenerate: Any) -> None:
    references = degenerate(sixteen_bit(tracks(2, 2, 12_000)[0]))
    estimates = degrade(references, np.random.default_rng(1))
    fast = bss_eval(references, estimates, window_samples=4000, filter_samples=64, exact=False)
    theirs = judge(museval, references, estimates, taps=64, window=4000, hop=4000)
    assert_same(stacked(fast), theirs, 1e-6)
    assert fast.rounding_db < 1e-6


def test_long_tracks_take_the_fast_filters(monkeypatch: pytest.MonkeyPatch) -> None:
    references, estimates = single_precision_filters(12_000)
    options: dict[str, Any] = {"window_samples": 4000, "filter_samples": 64}
    exact = stacked(bss_eval(references, estimates, exact=True, **options))
    np.testing.assert_array_equal(stacked(bss_eval(references, estimates, **options)), exact)
    monkeypatch.setattr(bsseval, "SHORT_SAMPLES", 11_999)
    fast = stacked(bss_eval(references, estimates, exact=False, **options))
    np.testing.assert_array_equal(stacked(bss_eval(references, estimates, **options)), fast)
    assert not np.array_equal(fast, exact)


def test_the_condition_number_is_the_systems_own() -> None:
    references, estimates = tracks(2, 1, 4000)
    references = less_band_limited(references)
    correlations = bsseval_filters.correlate(
        lambda start, stop: references[..., start:stop],
        lambda start, stop: estimates[..., start:stop],
        4000,
        48,
        torch.device("cpu"),
    )
    _, condition = bsseval_filters.solve_filters(correlations, 1)
    system = bsseval_filters.block_toeplitz(correlations.lags[:, :2]).numpy()
    scale = np.sqrt(np.diag(system))
    true = np.linalg.cond(system / scale / scale[:, None])
    assert true / 4 < condition < true * 1.01


@pytest.mark.parametrize("window", [700, 5000, 60_000])
def test_streamed_windows_equal_whole_ones(monkeypatch: pytest.MonkeyPatch, window: int) -> None:
    references, estimates = tracks(3, 2, 50_000)
    references[0, :, :10_000] = 0
    options: dict[str, Any] = {
        "window_samples": window,
        "hop_samples": 4567,
        "filter_samples": 100,
        "exact": False,
    }
    whole = stacked(bss_eval(references, estimates, **options))
    monkeypatch.setattr(bsseval_windows, "FILTER_BYTES", 0)
    monkeypatch.setattr(bsseval_windows, "STREAM_FFT_SAMPLES", 512)
    streamed = stacked(bss_eval(references, estimates, **options))
    np.testing.assert_allclose(streamed, whole, rtol=0, atol=1e-10)


def test_streams_arrays_and_tensors_of_any_type_score_the_same() -> None:
    references, estimates = (np.round(1000 * each).astype(np.int16) for each in tracks(2, 2, 9000))
    options: dict[str, Any] = {"window_samples": 2000, "hop_samples": 2000, "filter_samples": 32}
    expected = stacked(bss_eval(references.astype(float), estimates.astype(float), **options))
    assert np.isfinite(expected).all()

    def read(start: int, stop: int) -> NDArray[np.int16]:
        assert 0 <= start < stop <= 9000
        view = references[..., start:stop]
        view.flags.writeable = False
        return view

    tensor = torch.from_numpy(estimates)
    streamed = bss_eval_streamed(
        read, lambda start, stop: tensor[..., start:stop], num_samples=9000, **options
    )
    np.testing.assert_array_equal(stacked(streamed), expected)
    single = bss_eval(
        torch.from_numpy(references).float(), torch.from_numpy(estimates).float(), **options
    )
    np.testing.assert_array_equal(stacked(single), expected)
    rough = bss_eval(references, estimates, dtype=torch.float32, **options)
    np.testing.assert_allclose(stacked(rough), expected, rtol=0, atol=1e-3)


def test_reads_stay_short_however_long_the_track() -> None:
    rng = np.random.default_rng(0)
    longest = 0

    def read(start: int, stop: int) -> NDArray[np.float32]:
        nonlocal longest
        longest = max(longest, stop - start)
        return rng.standard_normal((1, 1, stop - start)).astype(np.float32)

    scores = bss_eval_streamed(
        read,
        read,
        num_samples=3_000_000,
        window_samples=2_900_000,
        hop_samples=44_100,
        filter_samples=64,
    )
    assert scores.sdr.shape == (1, 3)
    assert longest < 600_000


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda r, e: (r, e[:, :, :-1]), r"same shape .*\(2, 2, 900\) and \(2, 2, 899\)"),
        (lambda r, e: (r, e[:, :1]), "same shape"),
        (lambda r, e: (r[0], e[0]), "same shape"),
        (lambda r, e: (r[..., :0], e[..., :0]), "num_samples must be at least 1, not 0"),
        (lambda r, e: (np.stack([r[0], 0 * r[1]]), e), "reference 1 is silent"),
        (lambda r, e: (r, np.stack([0 * e[0], e[1]])), "estimate 0 is silent"),
        (lambda r, e: (r, np.stack([e[0], e[1] * [[1], [np.nan]]])), "estimate 1 holds NaN"),
        (lambda r, e: (np.stack([r[0] / 0, r[1]]), e), "reference 0 holds NaN or infinite"),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_unusable_input_is_refused_by_name(spoil: Any, message: str) -> None:
    references, estimates = spoil(*tracks(2, 2, 900))
    with pytest.raises(ValueError, match=message):
        bss_eval(references, estimates, window_samples=100, filter_samples=8)


def test_nonsense_lengths_are_refused() -> None:
    references, estimates = tracks(1, 1, 900)
    with pytest.raises(ValueError, match="hop_samples must be at least 1, not 0"):
        bss_eval(references, estimates, window_samples=100, hop_samples=0)


def test_lengths_are_matched_as_museval_does(museval: Any) -> None:
    _, estimates = tracks(2, 2, 100)
    for length in (60, 100, 130):
        references = np.zeros((2, length, 2))
        _, theirs = museval.pad_or_truncate(references, estimates.transpose(0, 2, 1))
        np.testing.assert_array_equal(match_length(estimates, length), theirs.transpose(0, 2, 1))


def test_song_sdr_is_the_challenges() -> None:
    references, estimates = tracks(3, 2, 5000)
    references[2] = estimates[2] = 0
    error = ((references - estimates) ** 2).sum((1, 2))
    expected = 10 * np.log10(((references**2).sum((1, 2)) + 1e-7) / (error + 1e-7))
    np.testing.assert_allclose(song_sdr(references, torch.from_numpy(estimates)), expected)
    assert expected[2] == 0
    with pytest.raises(ValueError, match="same shape"):
        song_sdr(references, estimates[:, :, 1:])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_scores_as_the_cpu() -> None:
    references, estimates = tracks(2, 2, 100_000)
    on_cpu = stacked(bss_eval(references, estimates, window_samples=44_100))
    on_gpu = stacked(
        bss_eval(
            torch.from_numpy(references).cuda(), estimates, window_samples=44_100, device="cuda"
        )
    )
    np.testing.assert_allclose(on_gpu, on_cpu, rtol=0, atol=1e-9)


@pytest.mark.slow
@pytest.mark.skipif(not MUSDB.exists(), reason="no MUSDB track beside the repository")
def test_a_real_track_agrees_frame_by_frame(museval: Any) -> None:
    import musdb

    track = musdb.DB(root=str(MUSDB), subsets="train").tracks[0]
    stems = np.stack([track.targets[name].audio.T for name in ("drums", "bass", "other", "vocals")])
    rng = np.random.default_rng(0)
    estimates = 0.8 * stems + 0.1 * stems.sum(0) + 0.01 * rng.standard_normal(stems.shape)
    theirs = np.stack(
        museval.evaluate(stems.transpose(0, 2, 1), estimates.transpose(0, 2, 1), 44_100, 44_100)
    )
    assert_same(stacked(bss_eval(stems, estimates, window_samples=44_100)), theirs, 1e-9)
    # Its bands above 16 kHz hold 16-bit rounding alone: there, museval's solver rounds as well.
    assert_same(
        stacked(bss_eval(stems, estimates, window_samples=44_100, exact=False)), theirs, 1e-5
    )
