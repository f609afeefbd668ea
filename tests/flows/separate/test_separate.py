from __future__ import annotations

import fcntl
import io
import json
import os
import shutil
import tracemalloc
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from demucs_core.separators.registry import build_model, config_of
from demucs_core.separators.separation import separate_stream
from flows.cli import main as cli
from flows.inputs import networks
from flows.separate import command as separate
from flows.separate import estimates
from flows.separate.claim import NOTE
from flows.separate.command import separate_files
from flows.separate.model_folder import open_model
from flows.separate.options import SeparateParameters
from flows.train.start import find_start
from storage.errors import UserError
from storage.music_format import MusicFormat
from storage.workspace import Workspace

MUSIC = MusicFormat()
SOURCES = MUSIC.sources

FAST = {"segment_s": 1.0, "device": "cpu", "report": False}


def music(
    num_samples: int, rate: int, num_channels: int = 2, noise: float = 0.1
) -> NDArray[np.float32]:
    """Partials and low-passed noise ``(T, C)``, other in each channel, peaks around 0.6."""
    rng = np.random.default_rng(0)
    time_s = np.arange(num_samples) / rate
    audio = np.zeros((num_samples, num_channels))
    for channel in range(num_channels):
        for pitch in (220.0, 554.4, 1318.5):
            audio[:, channel] += np.sin(2 * np.pi * pitch * (1 + channel / 4) * time_s) / 6
        white = rng.standard_normal(num_samples + 15)
        audio[:, channel] += noise * np.convolve(white, np.ones(16) / 16, "valid")
    return audio.astype(np.float32)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with one small Demucs, ``small``."""
    made = Workspace(str(tmp_path_factory.mktemp("separate") / "workspace"), create=True)
    model = build_model(
        {**asdict(MUSIC), "architecture": "demucs", "channels": 4, "depth": 2}, seed=0
    )
    networks.store(made, "models", "small", model, {"model": config_of(model)})
    return Path(made.root)


@pytest.fixture(scope="module")
def exact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model whose stems add up to what it hears."""
    made = Workspace(str(tmp_path_factory.mktemp("exact") / "workspace"), create=True)
    config = {**asdict(MUSIC), "architecture": "wave_unet", "channels": 2, "depth": 3}
    model = build_model(config, seed=0)
    networks.store(made, "models", "exact", model, {"model": config_of(model)})
    return Path(made.root) / "models" / "exact"


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model of two sources in mono at 16 kHz, which add up to what it hears."""
    made = Workspace(str(tmp_path_factory.mktemp("speech") / "workspace"), create=True)
    config = {
        "architecture": "wave_unet", "channels": 2, "depth": 3, "num_channels": 1,
        "sample_rate": 16_000, "sources": ["vocals", "accompaniment"],
    }  # fmt: skip
    model = build_model(config, seed=0)
    networks.store(made, "models", "speech", model, {"model": config_of(model)})
    return Path(made.root) / "models" / "speech"


@pytest.fixture(autouse=True)
def environment() -> Iterator[None]:
    """Commands put Prefect's settings into it."""
    with mock.patch.dict(os.environ):
        yield


def run(files: list[Path], output: Path, **fields: Any) -> list[Path]:
    complaints: list[str] = []
    parameters = SeparateParameters(output=str(output), overwrite=True, **{**FAST, **fields})
    paths = list(separate_files([str(file) for file in files], parameters, complaints.append))
    assert not complaints
    return paths


def shown(folder: Path) -> list[Path]:
    """What a person sees in a folder."""
    return sorted(folder.glob("[!.]*"))


def read(path: Path) -> NDArray[np.float64]:
    audio: NDArray[np.float64] = soundfile.read(path, always_2d=True)[0]
    return audio


def total(paths: list[Path]) -> NDArray[np.float64]:
    return np.asarray(np.sum([read(path) for path in paths], axis=0))


@pytest.mark.parametrize("num_channels", [1, 2])
def test_a_folder_says_its_own_sources_rate_and_channels(
    tmp_path: Path, speech: Path, num_channels: int
) -> None:
    """A model of mono hears each channel of a stereo file by itself."""
    original = music(16_000 * 2, 16_000, num_channels)
    soundfile.write(tmp_path / "a.wav", original, 16_000, "FLOAT")
    paths = run([tmp_path / "a.wav"], tmp_path / "out", model=str(speech), bits=32, shifts=1)
    assert [path.stem for path in paths] == ["vocals", "accompaniment"]
    np.testing.assert_allclose(total(paths), original, atol=1e-4)
    for channel in range(num_channels):
        soundfile.write(tmp_path / "side.wav", original[:, channel], 16_000, "FLOAT")
        alone = run(
            [tmp_path / "side.wav"], tmp_path / str(channel), model=str(speech), bits=32, shifts=1
        )
        for whole, side in zip(paths, alone, strict=True):
            np.testing.assert_allclose(read(whole)[:, channel], read(side)[:, 0], atol=1e-5)


@pytest.mark.parametrize(
    ("name", "rate", "num_channels", "num_samples", "subtype"),
    [
        ("a.wav", 44_100, 2, 100_000, "PCM_16"),
        ("a.wav", 48_000, 1, 70_001, "PCM_24"),
        ("a.flac", 96_000, 2, 100_003, "PCM_16"),
        ("a.ogg", 22_050, 2, 30_000, "VORBIS"),
        ("a.mp3", 48_000, 1, 57_600, "MPEG_LAYER_III"),
        ("short.wav", 8_000, 2, 1, "PCM_16"),
    ],
)
def test_stems_have_the_files_rate_length_and_channels(
    tmp_path: Path,
    workspace: Path,
    name: str,
    rate: int,
    num_channels: int,
    num_samples: int,
    subtype: str,
) -> None:
    soundfile.write(tmp_path / name, music(num_samples, rate, num_channels), rate, subtype)
    paths = run([tmp_path / name], tmp_path / "out", workspace=str(workspace))
    folder = tmp_path / "out" / Path(name).stem
    assert paths == [folder / f"{source}.wav" for source in SOURCES]
    assert shown(folder) == sorted(paths)
    for path in paths:
        info = soundfile.info(path)
        assert (info.samplerate, info.channels, info.subtype) == (rate, num_channels, "PCM_16")
        assert info.frames == num_samples


@pytest.mark.parametrize("rate", [44_100, 48_000])
def test_the_level_is_kept_above_full_scale_too(tmp_path: Path, exact: Path, rate: int) -> None:
    audio = 4 * music(2 * rate, rate, noise=0.0)
    assert np.abs(audio).max() > 1.5
    soundfile.write(tmp_path / "loud.wav", audio, rate, "FLOAT")
    paths = run([tmp_path / "loud.wav"], tmp_path, model=str(exact), bits=32)
    tolerance = 1e-5 if rate == 44_100 else 1e-3
    np.testing.assert_allclose(total(paths)[500:-500], audio[500:-500], rtol=0, atol=tolerance)


@pytest.mark.parametrize("two_stems", ["", "vocals"])
@pytest.mark.parametrize(("rate", "num_channels"), [(44_100, 2), (48_000, 1)])
def test_stems_add_up_to_the_file_on_request(
    tmp_path: Path, workspace: Path, rate: int, num_channels: int, two_stems: str
) -> None:
    audio = 0.5 * music(3 * rate, rate, num_channels)
    soundfile.write(tmp_path / "a.flac", audio, rate)
    fields = {"workspace": str(workspace), "format": "flac", "two_stems": two_stems}
    wanted = read(tmp_path / "a.flac")
    loose = run([tmp_path / "a.flac"], tmp_path / "loose", **fields)
    assert np.abs(total(loose) - wanted).max() > 0.01
    paths = run([tmp_path / "a.flac"], tmp_path / "out", **fields, add_up=True)
    lsb = 2**-15
    assert np.abs(total(paths) - wanted).max() <= (len(paths) / 2 + 0.01) * lsb


def test_two_stems_are_one_and_the_sum_of_the_others(tmp_path: Path, workspace: Path) -> None:
    soundfile.write(tmp_path / "a.wav", music(90_000, 44_100), 44_100)
    fields = {"workspace": str(workspace), "bits": 32}
    four = run([tmp_path / "a.wav"], tmp_path / "four", **fields)
    two = run([tmp_path / "a.wav"], tmp_path / "two", **fields, two_stems="bass")
    assert [path.name for path in two] == ["bass.wav", "no_bass.wav"]
    assert np.array_equal(read(two[0]), read(four[1]))
    np.testing.assert_allclose(read(two[1]), total([four[0], *four[2:]]), atol=1e-6)


def test_seed_decides_shifted_estimates(tmp_path: Path, workspace: Path) -> None:
    soundfile.write(tmp_path / "a.wav", music(90_000, 44_100), 44_100)
    contents = [
        [
            path.read_bytes()
            for path in run(
                [tmp_path / "a.wav"], tmp_path / f"{number}", workspace=str(workspace), **fields
            )
        ]
        for number, fields in enumerate(
            [{"shifts": 2}, {"shifts": 2}, {"shifts": 2, "seed": 1}, {"shifts": 0}]
        )
    ]
    assert contents[0] == contents[1]
    assert contents[0] != contents[2]
    assert contents[0] != contents[3]


def test_memory_does_not_grow_with_the_length(tmp_path: Path, workspace: Path) -> None:
    peaks = []
    for seconds in (30, 90):
        path = tmp_path / f"{seconds}.wav"
        soundfile.write(path, np.tile(music(11_025, 11_025, 1), (seconds, 1)), 11_025)
        tracemalloc.start()
        run([path], tmp_path / "out", workspace=str(workspace), add_up=True, shifts=1)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # 60 s more of one stem alone, in one channel at the model's rate, have 10.6 MB
    assert peaks[1] < peaks[0] + 2e6


def test_files_that_cannot_be_separated_are_named_and_the_others_go_on(
    tmp_path: Path,
    workspace: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    soundfile.write(tmp_path / "good.wav", music(50_000, 44_100), 44_100)
    soundfile.write(tmp_path / "better.wav", music(50_000, 44_100), 44_100)
    (tmp_path / "broken.mp3").write_bytes(b"not music" * 1000)
    files = [str(tmp_path / name) for name in ("good.wav", "broken.mp3", "gone.wav", "better.wav")]
    output = tmp_path / "out"
    options = ["--workspace", str(workspace), "--output", str(output), "--segment-s", "1"]
    assert cli.main(["separate", *files[:2], *options, *files[2:]]) == cli.EXIT_USER_ERROR
    lines = [
        line for line in capsys.readouterr().err.splitlines() if line.startswith("silentmix: ")
    ]
    assert lines == [
        f"silentmix: {tmp_path}/gone.wav: no such file or folder; check the path",
        lines[1],
        lines[2],
        "silentmix: 2 of 4 files not separated",
    ]
    assert lines[2].startswith(f"silentmix: report: {workspace}/reports/separate-")
    assert lines[1].startswith(f"silentmix: {tmp_path}/broken.mp3: corrupt: ")
    assert sorted(path.name for path in output.iterdir()) == ["better", "good"]
    assert all(len(shown(folder)) == 4 for folder in output.iterdir())


def test_one_file_that_cannot_be_separated_is_one_line(
    tmp_path: Path, workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "broken.mp3").write_bytes(b"")
    arguments = [str(tmp_path / "broken.mp3"), "--workspace", str(workspace)]
    assert cli.main(["separate", *arguments]) == cli.EXIT_USER_ERROR
    complaints = [line for line in capsys.readouterr().err.splitlines() if "silentmix" in line]
    assert complaints == [f"silentmix: {tmp_path}/broken.mp3: empty: the file has no bytes"]


def test_a_crash_leaves_nothing_half_written(
    tmp_path: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crashing(*_: Any, **__: Any) -> Iterator[NDArray[np.float32]]:
        yield np.full((4, 2, 10_000), 0.1, dtype=np.float32)
        raise RuntimeError("crash")

    soundfile.write(tmp_path / "a.wav", music(90_000, 44_100), 44_100)
    kept = run([tmp_path / "a.wav"], tmp_path / "out", workspace=str(workspace))
    before = [path.read_bytes() for path in kept]
    monkeypatch.setattr(estimates, "separate_stream", crashing)
    for output in ("out", "new"):
        with pytest.raises(RuntimeError, match="crash"):
            run([tmp_path / "a.wav"], tmp_path / output, workspace=str(workspace))
    assert shown(tmp_path / "out" / "a") == sorted(kept)
    assert [path.read_bytes() for path in kept] == before
    assert not (tmp_path / "new" / "a").exists()


def test_estimates_that_are_no_numbers_are_refused(
    tmp_path: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> Iterator[NDArray[np.float32]]:
        yield np.full((4, 2, 90_000), np.nan, dtype=np.float32)

    soundfile.write(tmp_path / "a.wav", music(90_000, 44_100), 44_100)
    monkeypatch.setattr(estimates, "separate_stream", broken)
    with pytest.raises(UserError, match=r"a\.wav: non_finite: the model makes NaN"):
        run([tmp_path / "a.wav"], tmp_path / "out", workspace=str(workspace))
    assert not list((tmp_path / "out").glob("*/*"))


def test_a_folder_is_searched_and_no_two_files_share_a_place(
    tmp_path: Path, workspace: Path
) -> None:
    audio, folder = music(2_000, 44_100), tmp_path / "music"
    for name in ("one/01.wav", "two/01.wav", "two/song.wav", "two/song.flac", "x.WAV"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / name, audio, 44_100)
    other = tmp_path / "X.flac"
    soundfile.write(other, audio, 44_100)
    output = folder / "separated"
    for _ in range(2):  # what the first run wrote is no music to the second
        paths = run([folder, other, folder / "x.WAV"], output, workspace=str(workspace))
        assert [path.parent.relative_to(output).as_posix() for path in paths[::4]] == [
            "one/01", "two/01", "two/song.flac", "two/song.wav", "x.WAV", "X.flac"
        ]  # fmt: skip


def test_a_list_names_files(tmp_path: Path, workspace: Path) -> None:
    for name in ("a.wav", "b.wav"):
        soundfile.write(tmp_path / name, music(2_000, 44_100), 44_100)
    (tmp_path / "list.m3u").write_text("a.wav\nb.wav\n")
    paths = run([tmp_path / "list.m3u"], tmp_path / "out", workspace=str(workspace))
    assert [path.parent.name for path in paths[::4]] == ["a", "b"]


def test_a_model_is_handed_over_as_a_folder(
    tmp_path: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    soundfile.write(tmp_path / "a.wav", music(2_000, 44_100), 44_100)
    theirs = run([tmp_path / "a.wav"], tmp_path / "theirs", workspace=str(workspace))
    shutil.copytree(workspace / "models" / "small", tmp_path / "mine" / "handed")
    monkeypatch.chdir(tmp_path / "mine")
    for number, name in enumerate(("handed", "./handed", str(tmp_path / "mine" / "handed"))):
        ours = run([tmp_path / "a.wav"], tmp_path / f"{number}", model=name)
        assert [path.read_bytes() for path in ours] == [path.read_bytes() for path in theirs]
    assert [path.name for path in Path().iterdir()] == ["handed"]


def test_a_models_weights_are_those_that_were_stored(workspace: Path) -> None:
    loaded = open_model("small", str(workspace), "cpu")
    stored = networks.load_model(Workspace(str(workspace)), "small", "cpu")
    assert not loaded.training
    assert config_of(loaded) == config_of(stored)
    for name, value in stored.state_dict().items():
        assert np.array_equal(loaded.state_dict()[name], value)


def test_one_bit_of_a_models_weights_is_noticed(tmp_path: Path, workspace: Path) -> None:
    shutil.copytree(workspace / "models" / "small", tmp_path / "models" / "small")
    shutil.copy(workspace / "workspace.json", tmp_path)
    weights = tmp_path / "models" / "small" / "weights.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(bytes(content))
    with pytest.raises(UserError, match=r"weights\.safetensors: damaged weights"):
        open_model("small", str(tmp_path), "cpu")
    with pytest.raises(UserError, match=r"weights\.safetensors: damaged weights"):
        networks.load_model(Workspace(str(tmp_path)), "small", "cpu")
    with pytest.raises(UserError, match=r"weights\.safetensors: damaged weights"):
        find_start("small", Workspace(str(tmp_path)))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ({}, r"no model here \(config.json is missing\)"),
        ({"config.json": None}, r"no model here \(weights.safetensors is missing\)"),
        ({"config.json": "{", "weights.safetensors": None}, "describes no model of ours"),
        ({"config.json": "{}", "weights.safetensors": None}, "describes no model of ours"),
        ({"config.json": None, "weights.safetensors": "x"}, "damaged weights"),
        ({"config.json": {"channels": 5}, "weights.safetensors": None}, "not the weights"),
        ({"config.json": {"num_channels": 1}, "weights.safetensors": None}, "not the weights"),
        (
            {"config.json": {"sources": ["../a", "b", "c", "d"]}, "weights.safetensors": None},
            r"has a source '\.\./a', which can't name a file",
        ),
    ],
)
def test_a_folder_that_holds_no_model_is_refused(
    tmp_path: Path, workspace: Path, damage: dict[str, Any], message: str
) -> None:
    """Files are copied, but for those with another content; a dictionary changes the config."""
    good = workspace / "models" / "small"
    for name, content in damage.items():
        if isinstance(content, dict):
            model = json.loads((good / name).read_text())["model"]
            content = json.dumps({"model": {**model, **content}})
        (tmp_path / name).write_bytes(
            (good / name).read_bytes() if content is None else content.encode()
        )
    with pytest.raises(UserError, match=message):
        open_model(str(tmp_path), "", "cpu")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--model", "gone"], "no finished model 'gone'; there are small"),
        (["--model", "./gone"], "gone: no model here (config.json is missing)"),
        (["--format", "aiff"], "aiff"),
        (["--two-stems", "voice"], "the model knows drums, bass, other, vocals, not 'voice'"),
        (["--format", "flac", "--bits", "32"], "bits: flac takes 16 or 24, not 32"),
        (["--overlap", "1"], "overlap must be below 1"),
        (["--output", "s3://bucket/stems"], "is no folder of this machine"),
        (["--workspace", "nowhere"], "nowhere: no silentmix workspace here"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    tmp_path: Path,
    workspace: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    options: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    soundfile.write("a.wav", music(2_000, 44_100), 44_100)
    if "--workspace" not in options:
        options = ["--workspace", str(workspace), *options]
    assert cli.main(["separate", "a.wav", *options]) == cli.EXIT_USER_ERROR
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("silentmix: ")
    assert message in line
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]


def test_no_file_is_said(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["separate", "--workspace", str(workspace)]) == cli.EXIT_USER_ERROR
    assert capsys.readouterr().err == "silentmix: name a file to separate, or a folder of them\n"


def said_of(files: list[str], output: Path, **fields: Any) -> tuple[list[Path], list[str]]:
    """The stems, and what was complained of."""
    said: list[str] = []
    parameters = SeparateParameters(output=str(output), **{**FAST, **fields})
    return list(separate_files(files, parameters, said.append)), said


def test_stems_that_clip_are_told_and_may_be_made_quieter(tmp_path: Path, exact: Path) -> None:
    soundfile.write(tmp_path / "a.wav", 3 * music(22_050, 44_100), 44_100, "FLOAT")
    file = [str(tmp_path / "a.wav")]
    floating, said = said_of(file, tmp_path / "float", model=str(exact), bits=32)
    assert said == []
    clamped, said = said_of(file, tmp_path / "clamp", model=str(exact))
    peaks = {path.stem: np.abs(read(path)).max() for path in floating}
    assert said[0].startswith(f"{file[0]}: stems beyond full scale are cut off there (")
    assert all((f"{name} " in said[0]) == (peak > 1) for name, peak in peaks.items())
    assert max(np.abs(read(path)).max() for path in clamped) == 1.0
    rescaled, said = said_of(file, tmp_path / "rescale", model=str(exact), clip="rescale")
    assert "all stems are " in said[0]
    factor = max(peaks.values()) * (1 + 2**-15)
    for soft, loud in zip(rescaled, floating, strict=True):
        np.testing.assert_allclose(read(soft) * factor, read(loud), atol=1e-3)


def test_some_sources_alone(tmp_path: Path, workspace: Path) -> None:
    soundfile.write(tmp_path / "a.wav", music(22_050, 44_100), 44_100)
    all_of_them = run([tmp_path / "a.wav"], tmp_path / "all", workspace=str(workspace), add_up=True)
    for add_up, wanted in ((True, ["vocals", "bass"]), (False, ["drums"])):
        out = tmp_path / f"some-{add_up}"
        some = run([tmp_path / "a.wav"], out, workspace=str(workspace), only=wanted, add_up=add_up)
        assert [path.stem for path in some] == [name for name in SOURCES if name in wanted]
        if add_up:
            for path in some:
                [whole] = [other for other in all_of_them if other.name == path.name]
                assert path.read_bytes() == whole.read_bytes()
    with pytest.raises(UserError, match="only: the model knows drums, bass, other, vocals, not"):
        run([tmp_path / "a.wav"], tmp_path / "out", workspace=str(workspace), only=["voice"])


def test_what_is_done_is_skipped_and_nothing_is_written_over(
    tmp_path: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("x/album", "y"):
        (tmp_path / folder).mkdir(parents=True)
        soundfile.write(tmp_path / folder / "song.wav", music(8_820, 44_100), 44_100)
    out, at = tmp_path / "out", {"workspace": str(workspace)}
    first, said = said_of([str(tmp_path / "x")], out, **at)
    assert not said
    assert {path.parent for path in first} == {out / "album" / "song"}, "the folder's own shape"
    killed = out / "album" / "song" / ".vocals.wav.0123.part"
    living = out / "of another" / ".vocals.wav.4567.part"
    strange = out / "no note" / ".vocals.wav.89.part"
    for part in (killed, living, strange):
        part.parent.mkdir(exist_ok=True)
        part.touch()
    written = {path: path.stat().st_mtime_ns for path in first}
    with monkeypatch.context() as patched, (living.parent / NOTE).open("w") as note:
        fcntl.flock(note, fcntl.LOCK_EX)
        patched.setattr(separate, "_write_stems", lambda *_: pytest.fail("it was done"))
        again, said = said_of([str(tmp_path / "x")], out, **at)
    assert not killed.exists(), "swept by the next that writes into the output"
    assert living.exists()
    assert strange.exists()
    skipped = "files skipped: separated alike before; --overwrite separates them anew"
    assert (again, said) == (first, [f"1 of 1 {skipped}"])
    other, another = str(tmp_path / "x" / "album"), str(tmp_path / "y" / "song.wav")
    said_of([other], out, **at)  # out/song
    with pytest.raises(UserError, match=r"holds stems of .*x/album/song.wav; --overwrite replaces"):
        said_of([another], out, **at)
    with pytest.raises(UserError, match="which changed since, or was separated otherwise"):
        said_of([other], out, **at, shifts=1)
    said_of([another], out, **at, overwrite=True)
    with pytest.raises(UserError, match=r"holds stems of .*y/song.wav"):
        said_of([other], out, **at)
    said_of([str(tmp_path / "x")], out, **at, overwrite=True)
    assert not living.exists(), "its command is over"
    assert all(path.stat().st_mtime_ns > before for path, before in written.items())


def test_no_more_is_computed_than_is_wanted(tmp_path: Path) -> None:
    pytest.importorskip("openunmix")
    made = Workspace(str(tmp_path / "workspace"), create=True)
    config = {**asdict(MUSIC), "architecture": "open_unmix", "niter": 0, "hidden_size": 4}
    model = build_model({**config, "nb_layers": 1}, seed=0)
    networks.store(made, "models", "apart", model, {"model": config_of(model)})
    soundfile.write(tmp_path / "a.wav", music(22_050, 44_100), 44_100)
    at = {"workspace": made.location, "bits": 32}
    whole = run([tmp_path / "a.wav"], tmp_path / "whole", **at)
    with mock.patch.object(estimates, "separate_stream", wraps=separate_stream) as asked:
        some = run([tmp_path / "a.wav"], tmp_path / "some", **at, only=["vocals"])
    assert asked.call_args.args[0].config.sources == ("vocals",)
    assert np.array_equal(read(some[0]), read(whole[SOURCES.index("vocals")]))


def test_the_standard_input_and_a_file_that_breaks_off(
    tmp_path: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    soundfile.write(tmp_path / "a.wav", music(88_200, 44_100), 44_100)
    whole = (tmp_path / "a.wav").read_bytes()
    piped = io.TextIOWrapper(io.BytesIO(whole[: len(whole) // 2]))
    monkeypatch.setattr("sys.stdin", piped)
    paths, said = said_of(["-"], tmp_path / "out", workspace=str(workspace), only=["bass"])
    assert paths == [tmp_path / "out" / "stdin" / "bass.wav"]
    assert said == ["standard input: breaks off; the 1.0 s that are there are separated"]


def test_a_model_of_a_lower_rate_says_what_the_stems_lack(tmp_path: Path, speech: Path) -> None:
    soundfile.write(tmp_path / "a.wav", music(44_100, 44_100, 1), 44_100)
    file = str(tmp_path / "a.wav")
    for added_up, expected in (
        (False, [f"{file}: the model works at 16000 Hz: stems have nothing above 8 kHz"]),
        (True, []),
    ):
        output = tmp_path / str(added_up)
        assert said_of([file], output, model=str(speech), add_up=added_up)[1] == expected


def test_the_command_line_takes_the_standard_input(
    tmp_path: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lone hyphen is no option, wherever it stands; a terminal has nothing to separate."""
    soundfile.write(tmp_path / "a.wav", music(4_410, 44_100), 44_100)
    piped = io.TextIOWrapper(io.BytesIO((tmp_path / "a.wav").read_bytes()))
    monkeypatch.setattr("sys.stdin", piped)
    options = ["--only", "bass", "--output", str(tmp_path / "out"), "--no-report"]
    assert cli.main(["separate", "-", *options, "--workspace", str(workspace)]) == 0
    assert shown(tmp_path / "out" / "stdin") == [tmp_path / "out" / "stdin" / "bass.wav"]
    monkeypatch.setattr(piped, "isatty", lambda: True)
    with pytest.raises(UserError, match="nothing is piped into it"):
        said_of(["-"], tmp_path / "out", workspace=str(workspace))


def test_two_commands_write_no_song_at_once(
    tmp_path: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second one is refused while the first one writes, and finds it done afterwards."""
    soundfile.write(tmp_path / "a.wav", music(4_410, 44_100), 44_100)
    both = [str(tmp_path / "a.wav")], tmp_path / "out"
    refused: list[str] = []

    def other_meanwhile(*arguments: Any, **options: Any) -> Iterator[NDArray[np.float32]]:
        if not refused:
            refused.append("")
            with pytest.raises(UserError, match=f"another command is writing to {both[1]}/a"):
                said_of(*both, workspace=str(workspace), overwrite=True)
        return separate_stream(*arguments, **options)

    monkeypatch.setattr(estimates, "separate_stream", other_meanwhile)
    first, _ = said_of(*both, workspace=str(workspace))
    assert refused
    assert said_of(*both, workspace=str(workspace))[0] == first


def test_what_can_not_be_written_is_named(tmp_path: Path, workspace: Path) -> None:
    soundfile.write(tmp_path / "a.wav", music(4_410, 44_100), 44_100)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a").write_text("in the way")
    with pytest.raises(UserError, match=rf"a\.wav: {tmp_path}/out/a: File exists"):
        said_of([str(tmp_path / "a.wav")], tmp_path / "out", workspace=str(workspace))


def test_an_output_that_can_be_no_folder_is_named(tmp_path: Path, workspace: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match=f"output: {tmp_path}/file is a file, and a folder"):
        said_of(["a.wav"], tmp_path / "file" / "stems", workspace=str(workspace))


def test_a_name_moves_no_cursor(
    tmp_path: Path, workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nor does the bar, which has it too."""
    name = "a\x1b]0;title\x07.wav"
    soundfile.write(tmp_path / name, music(50_000, 44_100), 44_100)
    command = ["separate", str(tmp_path / name), "--segment-s", "1"]
    where = ["--workspace", str(workspace), "--output", str(tmp_path / "out")]
    assert cli.main([*command, *where]) == 0
    told = capsys.readouterr()
    assert r"a\x1b]0;title\x07" in told.err
    assert "\x1b" not in told.out + told.err
