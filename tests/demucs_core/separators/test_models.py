from __future__ import annotations

import json

import pytest
import torch

from demucs_core.separators.registry import SEPARATORS, build_model, config_of
from tests.demucs_core.music import MUSIC
from tests.demucs_core.separators.small import SMALL


@pytest.mark.parametrize("architecture", SEPARATORS)
def test_configuration_survives_json(architecture: str) -> None:
    config = {
        **MUSIC,
        "sources": ["b", "a"],
        "architecture": architecture,
        **SMALL[architecture],
    }
    model = build_model(config)
    described = config_of(model)
    assert config.items() <= described.items()
    again = build_model(json.loads(json.dumps(described)))
    assert config_of(again) == described
    again.load_state_dict(model.state_dict())


@pytest.mark.parametrize("architecture", SEPARATORS)
def test_seed_decides_the_weights_and_nothing_else(architecture: str) -> None:
    config = {**MUSIC, "architecture": architecture, **SMALL[architecture]}
    before = torch.random.get_rng_state()
    models = [build_model(config, seed=seed) for seed in (1, 1, 2)]
    assert torch.equal(torch.random.get_rng_state(), before)
    first, same, other = (torch.nn.utils.parameters_to_vector(m.parameters()) for m in models)
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "architecture None is unknown; known are demucs, wave_unet"),
        ({"architecture": "spleeter"}, "'spleeter' is unknown"),
        ({"architecture": "demucs", "chanels": 4}, "demucs has no field 'chanels'; it has sources"),
        ({"architecture": "demucs", "channels": "4"}, "channels must be an integer"),
        ({"architecture": "demucs", "channels": True}, "channels must be an integer"),
        ({"architecture": "demucs", "sources": "vocals"}, "sources must be a list, not"),
        ({"architecture": "wave_unet", "difference_output": 1}, "difference_output must be"),
        ({"architecture": "wave_unet", "growth": 2}, "no field 'growth'"),
    ],
)
def test_what_is_unknown_is_refused_by_name(config: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_model({**MUSIC, **config})


@pytest.mark.parametrize("name", MUSIC)
def test_for_what_music_has_to_be_said(name: str) -> None:
    told = {key: value for key, value in MUSIC.items() if key != name}
    with pytest.raises(ValueError, match=f"demucs lacks {name}"):
        build_model({"architecture": "demucs", **told})


def test_whole_numbers_do_for_floats() -> None:
    model = build_model({**MUSIC, "architecture": "demucs", "channels": 4, "depth": 2, "growth": 1})
    assert config_of(model)["growth"] == 1
