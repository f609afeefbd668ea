from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import pytest
from pydantic import Field, ValidationError, field_validator

from flows.catalogue import CATALOGUE
from flows.cli.configuration import load_config, stage_section
from flows.evaluate.options import EvaluateParameters
from flows.ingest.options import IngestParameters
from flows.pipeline.options import PipelineParameters
from flows.running.parameters import (
    ADDED,
    PLACES,
    RUNTIME,
    CorpusName,
    Device,
    InFingerprintUnlessAsBefore,
    Options,
    StageParameters,
    recorded,
)
from flows.running.wrong_values import describe
from flows.train.options import TrainParameters
from storage.errors import UserError


class Parameters(StageParameters):
    corpus: CorpusName = Field("music")
    device: Device = Field("auto")
    threads: Annotated[int, RUNTIME] = Field(1)
    threshold: float = Field(0.5, ge=0, le=1)
    names: Annotated[list[str], RUNTIME] = Field([])
    shares: Annotated[tuple[float, ...], RUNTIME] = Field(())
    places: Annotated[list[str], PLACES, RUNTIME] = Field([])
    odd: Annotated[int, RUNTIME] = Field(1)

    @field_validator("odd")
    @classmethod
    def _check(cls, odd: int) -> int:
        if odd % 2 == 0:
            raise UserError("odd must be Odd, in Hz")
        return odd


def test_content_holds_what_changes_the_output_and_nothing_else() -> None:
    assert Parameters(threads=7, workers=3, device="cpu").content() == {"threshold": 0.5}


def test_a_field_that_came_later_changes_no_name_at_its_default() -> None:
    class Grown(Parameters):
        kind: Annotated[str, ADDED] = Field("as before")
        parts: Annotated[list[str], ADDED] = Field(default_factory=list)

    assert Grown().content() == Grown(kind="as before", parts=[]).content() == {"threshold": 0.5}
    assert Grown(kind="new").content() == {"threshold": 0.5, "kind": "new"}
    assert Grown(parts=["a"]).content() == {"threshold": 0.5, "parts": ["a"]}


def test_a_default_that_changed_leaves_the_names_of_before() -> None:
    class Grown(Parameters):
        share: Annotated[float, InFingerprintUnlessAsBefore(1.0)] = Field(0.5)

    assert Grown().content() == {"threshold": 0.5, "share": 0.5}
    assert Grown(share=1.0).content() == Parameters().content()
    was = Parameters(threshold=0.6, threads=2).model_dump()
    assert Grown.model_validate(recorded(Grown, was)).content() == {"threshold": 0.6}
    told = Grown(share=0.7).model_dump()
    assert recorded(Grown, {**told, "no_field": 1}) == told


def test_every_field_of_every_stage_is_described() -> None:
    for entry in CATALOGUE:
        model = entry.load_parameters()
        for name, field in model.model_fields.items():
            assert field.description, f"{model.__name__}.{name}"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"threshold": 2}, "threshold must be at most 1, not 2"),
        ({"threshold": "High"}, "threshold must be a number, not High"),
        ({"workers": 1.5}, "workers must be a whole number, not 1.5"),
        ({"dry_run": "Perhaps"}, "dry_run must be true or false, not 'Perhaps'"),
        ({"names": {"a": 1}}, "names must be a list, not {'a': 1}"),
        ({"names": "a,,b"}, "names: there is nothing between two commas, or at an end, of 'a,,b'"),
        ({"names": ""}, "names: there is nothing between two commas, or at an end, of ''"),
        ({"names": ["a", "\ud800"]}, "names: '\\ud800' is not Unicode; rename what is called so"),
        ({"workspace": "\udce4"}, "workspace: '\\udce4' is not Unicode"),
        ({"\ud800": 1}, "'\\ud800' is not Unicode"),
        ({"odd": 2}, "odd must be Odd, in Hz"),
        ({"colour": 1}, "unknown field 'colour'"),
        (
            {"corpus": "../x"},
            "corpus must be a letter, then letters, digits, ., _ and -, not '../x'",
        ),
        ({"device": "TPU"}, "device must be 'auto', 'cpu', 'cuda'"),
    ],
)
def test_a_bad_value_is_described_in_one_line(values: dict[str, object], expected: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Parameters.model_validate(values)
    assert describe(caught.value).startswith(expected)
    assert "\n" not in describe(caught.value)


@pytest.mark.parametrize("given", ["a,b", ["a,b"], ["a", " b "], ("a", "b")])
def test_lists_may_have_commas(given: object) -> None:
    found = Parameters.model_validate({"names": given, "places": ["a, b"], "shares": "0.5,1"})
    assert (found.names, found.shares, found.places) == (["a", "b"], (0.5, 1.0), ["a, b"])


@pytest.mark.parametrize(
    ("model", "name"),
    [
        (IngestParameters, "source"),
        (PipelineParameters, "labelled"),
        (PipelineParameters, "unlabelled"),
        (Parameters, "workspace"),
        (TrainParameters, "init_from"),
    ],
)
def test_a_password_in_an_address_is_refused_and_not_repeated(
    model: type[Options], name: str
) -> None:
    pattern = model.model_json_schema()["properties"][name]["pattern"]  # what the form refuses by
    for secret in ("ftp://me:geheim@host/music", "simplecache::https://me:geheim@host:80/a.wav"):
        with pytest.raises(ValidationError) as caught:
            model.model_validate({name: secret})
        assert describe(caught.value).startswith(
            f"{name}: an address with a password or token in it"
        )
        assert "geheim" not in describe(caught.value)
        assert not re.search(pattern, secret)
    for location in ("music", "s3://b/a:b@c", "ftp://me@host:21/music", "https://host:80/x@y"):
        model.model_validate({name: location})
        assert re.search(pattern, location)


def test_a_password_in_a_list_of_addresses_is_refused_by_its_field() -> None:
    with pytest.raises(ValidationError) as caught:
        EvaluateParameters.model_validate({"published": ["results", "ftp://me:geheim@host/x"]})
    said = describe(caught.value)
    assert said.startswith("published")
    assert "geheim" not in said


def test_a_run_keeps_whole_paths(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    whole = {
        "music": f"{tmp_path}/music", "~/music": "/home/me/music", "/music": "/music",
        "s3://bucket/music": "s3://bucket/music",
    }  # fmt: skip
    for given, kept in whole.items():
        assert IngestParameters(source=given).source == kept


KNOWN = {"": {"workspace", "workers"}, "score": {"workspace", "workers", "device"}}


def test_a_stage_takes_the_fields_at_the_top_and_its_own() -> None:
    config = {"workspace": "w", "workers": 2, "score": {"device": "cpu", "workers": 4}}
    found = stage_section(config, "score", KNOWN)
    assert found == {"workspace": "w", "device": "cpu", "workers": 4}


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"colour": 1}, "unknown field 'colour'.* and the sections score$"),
        ({1: 2}, "unknown field 1"),
        ({"score": {"x": 1}}, "score has no field 'x'"),
        ({"score": [1]}, r"score is a section with fields, not \[1\]"),
        ({"workers": {"a": 1}}, "workers has a value or a list of them, not {'a': 1}"),
        ({"score": {"device": {"a": 1}}}, "score.device has a value"),
    ],
)
def test_unknown_fields_are_named(config: dict[str, object], expected: str) -> None:
    with pytest.raises(UserError, match=expected):
        stage_section(config, "score", KNOWN)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: [", "not valid YAML"),
        ("- a", "maps fields to values"),
        (None, "no configuration file"),
        ("a: 1\nb: 2\na: 3", "'a' stands in lines 1 and 3; keep one"),
        ("train:\n  steps: 1\n  steps: 2", "'steps' stands in lines 2 and 3"),
        ("train: {steps: 1, steps: 2}", "'steps' stands in lines 1 and 1"),
    ],
)
def test_a_file_that_is_no_configuration(text: str | None, expected: str, tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match=expected):
        load_config(str(path))
