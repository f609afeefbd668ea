"""Weights of the official demucs become a model of ours, and nothing else in the file runs."""

from __future__ import annotations

import hashlib
import os
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import torch
from demucs.demucs import Demucs
from demucs.hdemucs import HDemucs
from demucs.htdemucs import HTDemucs

from flows.cli import main as cli
from flows.convert.command import ConvertParameters, convert_demucs
from flows.convert.unpickling import main
from flows.separate.model_folder import load_folder
from storage.errors import UserError

SOURCES = ["drums", "bass", "other", "vocals"]
PAPERS: dict[str, Any] = {
    "gelu": False, "dconv_mode": 0, "norm_starts": 99, "normalize": False, "resample": False,
    "lstm_layers": 2, "channels": 4, "depth": 2,
}  # fmt: skip
SMALL: dict[str, Any] = {
    "channels": 8, "depth": 2, "nfft": 256, "t_layers": 1, "t_heads": 2, "samplerate": 8000,
    "segment": Fraction(39, 500),
}  # fmt: skip


def quiet(line: str) -> None:
    assert line


def package(path: Path, kind: Any, *, half: bool = False, **arguments: Any) -> Any:
    """As the official training serialises a model; returns the model."""
    torch.manual_seed(0)
    model = kind(sources=SOURCES, **arguments).eval()
    state = {name: value.half() if half else value for name, value in model.state_dict().items()}
    content = {"klass": kind, "args": (), "kwargs": {"sources": SOURCES, **arguments},
               "state": state, "training_args": {"seed": 42}}  # fmt: skip
    torch.save(content, path)
    return model


@pytest.fixture
def _in_this_process(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The reader without a process of its own, which takes seconds to start."""

    class Done:
        stderr = ""

        def __init__(self, told: list[str], **_: object) -> None:
            main(*told[told.index("-m") + 2 :])
            self.stdout = capsys.readouterr().out

    monkeypatch.setattr("flows.convert.command.subprocess.run", Done)


@pytest.mark.usefixtures("_in_this_process")
@pytest.mark.parametrize(
    ("kind", "arguments"),
    [(Demucs, PAPERS), (HTDemucs, SMALL), (HTDemucs, {**SMALL, "bottom_channels": 16})],
)
def test_official_weights_sound_the_same_here(
    kind: Any, arguments: dict[str, Any], tmp_path: Path
) -> None:
    theirs = package(tmp_path / "955717e8.th", kind, **arguments)
    lines: list[str] = []
    folder = convert_demucs(str(tmp_path / "955717e8.th"), ConvertParameters(), lines.append)
    assert folder == tmp_path / "955717e8"
    assert lines[0].startswith("unpickling ")
    assert f"{kind.__module__}.{kind.__name__}" in lines[-1]
    ours = load_folder(folder)
    assert ours.config.sources == tuple(SOURCES)
    mixture = torch.randn(1, 2, 500, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(ours(mixture), theirs(mixture), atol=1e-5, rtol=0)
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "weights.safetensors"]
    assert not list(tmp_path.glob(".*"))


@pytest.mark.usefixtures("_in_this_process")
def test_half_precision_is_read(tmp_path: Path) -> None:
    package(tmp_path / "half.th", Demucs, half=True, **PAPERS)
    ours = load_folder(
        convert_demucs(
            str(tmp_path / "half.th"), ConvertParameters(output=str(tmp_path / "new" / "m")), quiet
        )
    )
    assert all(value.dtype == torch.float32 for value in ours.state_dict().values())


class Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder),)


@pytest.mark.usefixtures("_in_this_process")
def test_a_file_that_would_run_something_else_is_refused(tmp_path: Path) -> None:
    sprung = tmp_path / "sprung"
    torch.save({"klass": HTDemucs, "args": (), "kwargs": {}, "state": Trap(sprung)},
               tmp_path / "evil.th")  # fmt: skip
    with pytest.raises(UserError, match=r"names posix\.mkdir, which would run; --trust runs it"):
        convert_demucs(str(tmp_path / "evil.th"), ConvertParameters(), quiet)
    assert not sprung.exists()
    assert not (tmp_path / "evil").exists()


@pytest.mark.usefixtures("_in_this_process")
@pytest.mark.parametrize(
    ("kind", "arguments", "message"),
    [
        (HDemucs, {"channels": 4}, r"names demucs\.hdemucs\.HDemucs"),
        (
            Demucs,
            {**PAPERS, "gelu": True},
            "Demucs with gelu = True has no equal here: it is later",
        ),
        (Demucs, {**PAPERS, "norm_starts": 1}, "Demucs with norm_starts = 1 has no equal here"),
        (HTDemucs, {**SMALL, "rewrite": False}, "HTDemucs with rewrite = False has no equal"),
        (HTDemucs, {**SMALL, "t_emb": "scaled"}, "HTDemucs with t_emb = 'scaled' has no equal"),
    ],
)
def test_a_model_without_an_equal_is_refused_by_name(
    kind: Any, arguments: dict[str, Any], message: str, tmp_path: Path
) -> None:
    package(tmp_path / "other.th", kind, **arguments)
    with pytest.raises(UserError, match=message):
        convert_demucs(str(tmp_path / "other.th"), ConvertParameters(), quiet)


@pytest.mark.usefixtures("_in_this_process")
@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "is no file that torch saved"), ({"state": {}}, "holds no package of the official")],
)
def test_a_file_of_something_else_is_refused(content: Any, message: str, tmp_path: Path) -> None:
    path = tmp_path / "other.th"
    path.write_bytes(b"something else")
    if content is not None:
        torch.save(content, path)
    with pytest.raises(UserError, match=message):
        convert_demucs(str(path), ConvertParameters(), quiet)


def test_what_is_no_package_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="can't be read"):
        convert_demucs(str(tmp_path / "nowhere.th"), ConvertParameters(), quiet)
    path = tmp_path / "955717e8-8726e21a.th"
    path.write_bytes(b"no package")
    begins = hashlib.sha256(b"no package").hexdigest()[:8]
    with pytest.raises(UserError, match=f"its SHA-256 begins with {begins}, not 8726e21a"):
        convert_demucs(str(path), ConvertParameters(), quiet)
    (tmp_path / "there").mkdir()
    path = path.rename(tmp_path / "other.th")
    with pytest.raises(UserError, match="there exists; name another folder"):
        convert_demucs(str(path), ConvertParameters(output=str(tmp_path / "there")), quiet)


def test_the_command_reads_it_in_a_process_of_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    package(tmp_path / "small.th", Demucs, **PAPERS)
    assert cli.main(["convert", "demucs", str(tmp_path / "small.th")]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[-1] == str(tmp_path / "small")
    assert "unpickled demucs.demucs.Demucs" in told
