from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.labelled.song import LabelledSetError, sources_of
from storage.labelled.stem_names import REST, SKIP, Match, StemNames, UnclearNameError
from tests.storage.labelled.files import SOURCES

PLAIN = StemNames(SOURCES)
sources = st.lists(
    st.from_regex(r"[a-z][a-z0-9_-]{0,8}", fullmatch=True).filter(lambda name: name != "mixture"),
    min_size=2,
    max_size=8,
    unique=True,
)
words = st.text(st.sampled_from("abcXYZ019_- é"), min_size=1, max_size=12).filter(str.strip)


def unclear(names: StemNames, name: str, folder: str = "") -> str:
    with pytest.raises(UnclearNameError) as refused:
        names.match(name, folder)
    return str(refused.value)


def refused(text: str) -> str:
    with pytest.raises(LabelledSetError) as error:
        StemNames.parse(text, SOURCES)
    assert "\n" not in str(error.value)
    return str(error.value)


@given(sources, words)
def test_a_sources_own_name_is_that_source_in_any_case(names: list[str], other: str) -> None:
    stems = StemNames(tuple(names))
    for source in names:
        assert stems.match(source.upper()) == Match(source, is_exact=True)
        assert stems.match(other, source.title()) == Match(source, is_exact=True)
        assert StemNames.parse(f"{names[0]}=*", names).match(source) == Match(source, is_exact=True)


@given(sources, words, st.data())
def test_the_first_rule_that_matches_decides(
    names: list[str], name: str, data: st.DataObject
) -> None:
    rules = data.draw(st.lists(st.tuples(st.sampled_from(names), words), max_size=4))
    text = ", ".join(f"{source}={word}*" for source, word in rules)
    stems = StemNames.parse(text, names)
    told = [
        source for source, word in rules if name.strip().lower().startswith(word.lstrip().lower())
    ]
    if told:
        assert stems.match(name) == Match(told[0])
    more = f"{text}, {names[-1]}=*" if text else f"{names[-1]}=*"
    found = StemNames.parse(more, names).match(name)
    assert found.target == (
        told[0] if told else name.strip().lower() if found.is_exact else names[-1]
    )


@given(sources, st.data())
def test_a_sum_is_named_in_the_order_of_the_sources(names: list[str], data: st.DataObject) -> None:
    members = data.draw(st.lists(st.sampled_from(names), min_size=1, unique=True))
    [(target, pattern)] = StemNames.parse(f"{' + '.join(members)}=X", names).rules
    assert pattern == "x"
    assert sources_of(target) == tuple(name for name in names if name in members)


@given(words)
def test_whatever_the_name_it_is_a_target_or_refused(name: str) -> None:
    try:
        found = PLAIN.match(name)
    except UnclearNameError as error:
        assert name.strip() in str(error)  # noqa: PT017 - both ways are right
    else:
        assert found.target in (*SOURCES, "mixture", REST)


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("lead_vocals", "vocals"),
        ("Vocals 2", "vocals"),
        ("vocals2", "vocals"),
        ("01-Drums (room)", "drums"),
        ("no_vocals", REST),
        ("Accompaniment", REST),
        ("Song mixture", "mixture"),
    ],
)
def test_other_words_around_a_name(name: str, target: str) -> None:
    assert PLAIN.match(name).target == target


@pytest.mark.parametrize("name", ["guitar", "vocal", "drumsbass", "mix_no_vocals_2", "1"])
def test_names_that_tell_nothing(name: str) -> None:
    assert unclear(PLAIN, name).startswith(f"unknown source '{name}'; the sources are drums, bass")


def test_a_name_of_two_sources() -> None:
    assert unclear(PLAIN, "Drums & Bass") == (
        "'Drums & Bass' names drums and bass; rename it, or say with --stems what it holds, such "
        "as drums=Drums & Bass or drums+bass=Drums & Bass"
    )


def test_rules_tell_of_folders_and_files() -> None:
    stems = StemNames.parse("drums=kit/*|room, skip=click, rest=backing/*", SOURCES)
    assert stems.match("Snare", "Kit") == Match("drums")
    assert stems.match("room", "anything") == Match("drums")
    assert stems.match("1", "room") == Match("drums")
    assert stems.match("click") == Match(SKIP)
    assert stems.match("1", "backing") == Match(REST)
    assert unclear(stems, "lead_vocals") == (
        "'lead_vocals' matches no rule of --stems and no source (drums, bass, other, vocals); add "
        "a rule for it, such as vocals=lead_vocals or skip=lead_vocals"
    )


def test_mappings_that_are_none() -> None:
    assert refused("vocals") == (
        "stems: 'vocals' is no rule; write SOURCE=PATTERN|PATTERN, ..., such as "
        '"vocals=lead*|backing*, other=*"'
    )
    assert refused("vocals=[a").startswith("stems: 'vocals=[a' has a [ that is not closed")
    assert StemNames.parse("vocals=[ab]x|[[]*", SOURCES).match("[1").target == "vocals"
    assert refused("vocals=a||b").startswith("stems: 'vocals=a||b' is no rule")
    assert refused("vocals=a,,bass=b").startswith("stems: '' is no rule")
    assert refused("guitar=a") == (
        "stems: 'guitar' is no source; a rule is for drums, bass, other, vocals, a sum of them "
        "such as drums+bass, mixture, rest or skip"
    )
    assert refused("bass+keys=a").startswith("stems: 'keys' is no source")
    assert refused("bass+bass=a").startswith("stems: 'bass+bass' names a source twice")
    assert refused("bass+mixture=a").startswith("stems: 'mixture' is no source")


def test_sources_called_rest_or_skip_come_first() -> None:
    assert StemNames.parse("rest=a*", ("rest", "skip")).match("abc") == Match("rest")
