"""The model that train is told of: read, named, and refused before anything is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from demucs_core.separators.htdemucs import HTDemucsConfig
from demucs_core.separators.registry import SEPARATORS, config_of
from flows.inputs import networks
from flows.inputs.methods import choose_models
from flows.pipeline.options import PipelineParameters
from flows.running.chain import Chain
from flows.running.wrong_values import describe
from flows.separate.model_folder import open_model
from flows.train.model import first_model
from flows.train.options import TrainOptions
from storage.errors import UserError
from storage.music_format import MusicFormat
from storage.workspace import Workspace

MUSIC = MusicFormat()
HERE = "tests.demucs_core.separators.strangers"
MIXING = f"{HERE}:Mixing"
FAST: dict[str, Any] = {"crop_s": 0.01}


def test_a_file_of_fields_is_read_once_and_stays_with_the_run(tmp_path: Path) -> None:
    path = tmp_path / "small.yaml"
    path.write_text("lstm_layers: 0\nchannels: 4\ndepth: 2\n", encoding="utf-8")
    told = TrainOptions(architecture_config=str(path), **FAST)
    path.unlink()
    assert told.architecture_config == '{"channels": 4, "depth": 2, "lstm_layers": 0}'
    assert TrainOptions(**told.model_dump()) == told
    inline = TrainOptions(architecture_config="{channels: 4, depth: 2, lstm_layers: 0}", **FAST)
    assert inline == told
    described = config_of(first_model(told, MUSIC).model)
    assert (described["lstm_layers"], described["channels"]) == (0, 4)
    content = told.content()
    assert (content["channels"], content["depth"]) == (4, 2)
    assert content["model"] == {"lstm_layers": 0}
    assert "architecture_config" not in content


def test_fields_that_change_nothing_change_no_name() -> None:
    assert TrainOptions(architecture_config="{channels: 64}").content() == TrainOptions().content()
    assert TrainOptions(architecture_config="").content() == TrainOptions().content()


def test_htdemucs_is_told_the_length_of_its_crops() -> None:
    for told, expected in (("", 3.0), ("{segment_s: 2}", 2.0)):
        options = TrainOptions(architecture="htdemucs", crop_s=3.0, architecture_config=told)
        config = SEPARATORS.parse(options.describe_model(MUSIC, crop_s=options.crop_s))
        assert isinstance(config, HTDemucsConfig)
        assert config.segment_s == expected


def test_a_class_is_trained_under_its_name() -> None:
    options = TrainOptions(architecture=MIXING, architecture_config="{taps: 5}", **FAST)
    model = first_model(options, MUSIC).model
    assert config_of(model)["arguments"] == {"taps": 5}
    content = options.content()
    assert content["architecture"] == MIXING
    assert content["model"]["arguments"] == {"taps": 5}
    assert content["model"]["version"]
    assert content != TrainOptions(architecture=MIXING, **FAST).content()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"architecture": "spleeter"}, "architecture: there is no 'spleeter'; there are demucs, "),
        ({"architecture": "my_module.MyModel"}, "as my_package.my_module:MyModel"),
        ({"architecture": MIXING, "depth": 2}, "has no such option"),
        ({"architecture_config": "nowhere/my.yaml"}, "nowhere/my.yaml: no file to read (No such"),
        ({"architecture_config": "{a: b: c}"}, "not valid YAML"),
        ({"architecture_config": "[{a: 1}]"}, "fields and their values are wanted"),
        ({"architecture_config": "{depth: 2024-01-01}"}, "holds what JSON can't: Object of type"),
        (
            {"channels": 4, "architecture_config": "{channels: 5}"},
            "channels is given by itself too",
        ),
        ({"architecture_config": "{sample_rate: 8000}"}, "sample_rate is the workspace's"),
    ],
)
def test_what_can_be_no_model_is_refused_in_a_line(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as refused:
        TrainOptions(**options)
    line = describe(refused.value)
    assert message in line
    assert "\n" not in line


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"architecture_config": "{chanels: 4}"}, "demucs has no field 'chanels'; it has sources"),
        ({"architecture": f"{HERE}:Listing"}, "returns a list in separation, not a tensor"),
        ({"architecture": "tests.nowhere:Model"}, "can't be imported"),
        ({"depth": 12}, "not fit into memory; lower channels or depth: 1,088,064 million weights"),
        ({"channels": 10**9}, "not fit into memory; lower channels or depth .Storage size"),
        ({"channels": 10**20}, "not fit into memory; lower channels or depth .empty"),
        ({"architecture_config": "{growth: .inf}"}, "growth must be finite, not inf"),
        ({"architecture_config": f"{{growth: 1{'0' * 400}}}"}, "growth must be finite, not inf"),
        (
            {"architecture_config": "{kernel_size: 2}"},
            "kernel_size must be at least stride .4., not",
        ),
        ({"architecture": f"{HERE}:Detached"}, "returns what no weight has a part in"),
    ],
)
def test_a_model_that_will_not_do_is_refused_before_the_first_step(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=f"architecture: .*{message}"):
        first_model(TrainOptions(**options, **FAST), MUSIC)


def test_a_stored_model_of_a_class_wants_the_class_to_be_named(tmp_path: Path) -> None:
    workspace = Workspace(str(tmp_path / "workspace"), create=True)
    model = first_model(TrainOptions(architecture=MIXING, **FAST), MUSIC).model
    networks.store(workspace, "models", "theirs", model, {"model": config_of(model)})
    refused = f"--allow-import {MIXING}"
    with pytest.raises(UserError, match=refused):
        choose_models(workspace, [])
    with pytest.raises(UserError, match=refused):
        networks.load_model(workspace, "theirs", "cpu")
    with pytest.raises(UserError, match=refused):
        open_model("theirs", workspace.location, "cpu")
    assert choose_models(workspace, [], [MIXING]) == ["theirs"]
    for loaded in (
        networks.load_model(workspace, "theirs", "cpu", (MIXING,)),
        open_model("theirs", workspace.location, "cpu", (MIXING,)),
    ):
        assert config_of(loaded) == config_of(model)


def test_the_chain_evaluates_the_class_that_it_trains() -> None:
    parameters = PipelineParameters(train=TrainOptions(architecture=MIXING))
    assert Chain(parameters).allow_import == [MIXING]
    assert Chain(PipelineParameters()).allow_import == []
