"""The arms of the study: ways to train, each with what it asks of the stages, and comparisons.

What is compared, and which comparison is the primary one, was written here before any training of
the study had ended.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

Segments = Literal["", "extracted", "surest", "audited", "true"]


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One way to train.

    Attributes:
        key: its number in the table.
        name: what the table calls it.
        architecture: of its model.
        segments: where its remixes come from: none, what the detector found, the surest of it,
            what of it an audit vouches for, or the truth.
        whole_crops: the paper's scheme: segments as long as a crop, one source a remix, no mask.
        all_labelled: the unlabelled songs are given with their stems.
        after: the arm, or pre-training, whose model, of the same seed, must be there before.
        use_of_after: what that model is for: the weights to begin with, or a teacher.
        mixit: pre-training on mixtures of two unlabelled songs; no arm of the table.
        train: further fields of :class:`flows.train.options.TrainOptions`.
    """

    key: str
    name: str
    architecture: Literal["demucs", "wave_unet", "open_unmix"] = "demucs"
    segments: Segments = ""
    whole_crops: bool = False
    all_labelled: bool = False
    after: str = ""
    use_of_after: Literal["", "weights", "teacher"] = ""
    mixit: bool = False
    train: Mapping[str, Any] = field(default_factory=dict)


def _by_key(*arms: Arm) -> Mapping[str, Arm]:
    return MappingProxyType({arm.key: arm for arm in arms})


ARMS = _by_key(
    Arm(key="1", name="Wave-U-Net, labelled", architecture="wave_unet"),
    Arm(key="2", name="Open-Unmix, labelled", architecture="open_unmix"),
    Arm(key="3", name="Demucs, labelled"),
    Arm(key="4", name="Demucs, the paper's remixes", segments="extracted", whole_crops=True),
    Arm(key="5", name="Demucs, masks and groups", segments="extracted"),
    Arm(key="6", name="Demucs, masks and groups, true silences", segments="true"),
    Arm(key="7", name="Demucs, pseudo-labels", after="3", use_of_after="teacher"),
    Arm(key="8", name="Demucs, from mixtures (MixIT)", after="mixit", use_of_after="weights"),
    Arm(
        key="9", name="Demucs, from mixtures, masks and groups", segments="extracted",
        after="mixit", use_of_after="weights",
    ),
    Arm(key="10", name="Demucs, all songs labelled", all_labelled=True),
    Arm(key="11", name="Demucs, masks and groups, after an audit", segments="audited"),
    Arm(key="12", name="Demucs, masks and groups, surest silences", segments="surest"),
)  # fmt: skip
"""The arms by their numbers."""

BEFORE = _by_key(Arm(key="mixit", name="pre-training on mixtures", mixit=True))
"""What is trained for other arms alone."""

ORDER = ("3", "5", "12", "6", "11", "10", "4", "1", "2", "7", "mixit", "8", "9")
"""What is trained first: the two arms of the primary comparison, seed by seed, then the others."""
FIRST = 2
"""So many arms of the order take turns; of those after them, all seeds of one come first."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two arms, and what is claimed of their difference in SDR.

    Attributes:
        arm: the arm that is said to be better, or as good.
        against: the other arm.
        claim_db: the least difference that is claimed; none for a bound from above.
        asks: the question in words.
    """

    arm: str
    against: str
    claim_db: float
    asks: str


PRIMARY = Comparison(arm="5", against="3", claim_db=0.5, asks="Does unlabelled music help?")
"""The one comparison that is asked first, at the last step; its p-value stands as it is."""

SECONDARY = (
    Comparison(arm="3", against="1", claim_db=1.6, asks="Is Demucs better than Wave-U-Net?"),
    Comparison(arm="5", against="2", claim_db=0.0, asks="Does it match a spectrogram model?"),
    Comparison(arm="5", against="4", claim_db=0.0, asks="Are masks and groups worth it?"),
    Comparison(arm="5", against="6", claim_db=-0.2, asks="What do the detector's errors cost?"),
    Comparison(arm="10", against="5", claim_db=0.0, asks="How far is the ceiling?"),
)
"""The others; Holm's procedure corrects their p-values for how many there are."""

LATER = (
    Comparison(arm="5", against="7", claim_db=0.0, asks="Is it better than pseudo-labels?"),
    Comparison(arm="5", against="8", claim_db=0.0, asks="Is it better than MixIT?"),
    Comparison(arm="9", against="5", claim_db=0.0, asks="Do MixIT and remixes add up?"),
)
"""Those of arms that came later, when others were being trained and none of theirs had begun.

They are corrected among themselves, and change nothing in the others.
"""

REMEDIES = (
    Comparison(arm="12", against="3", claim_db=0.5, asks="Do the surest silences help?"),
    Comparison(arm="12", against="5", claim_db=0.0, asks="Are the surest better than all?"),
    Comparison(arm="11", against="3", claim_db=0.5, asks="Does it help after an audit?"),
    Comparison(arm="11", against="5", claim_db=0.0, asks="Is an audit worth its answers?"),
)
"""Those of what was tried once the primary comparison had shown no difference.

They were named before any training of theirs had ended, and are corrected among themselves.
"""

OF_THE_DEFAULT = (
    Comparison(arm="12", against="6", claim_db=-0.2, asks="What do errors that are left cost?"),
    Comparison(arm="12", against="4", claim_db=0.0, asks="Is it better than the paper's remixes?"),
    Comparison(arm="12", against="2", claim_db=0.0, asks="Does it match a spectrogram model?"),
    Comparison(arm="12", against="7", claim_db=0.0, asks="Is it better than pseudo-labels?"),
    Comparison(arm="12", against="8", claim_db=0.0, asks="Is it better than MixIT?"),
)
"""Those of arm 12 since its way of extracting became the default.

They were named when three trainings of arm 6 had ended, and none of arms 2, 4, 7 and 8. They are
corrected among themselves.
"""

FAMILIES = (SECONDARY, LATER, REMEDIES, OF_THE_DEFAULT)
"""All comparisons but the primary one, by what is corrected together."""

TRIED = (
    "A bootstrap over seeds and songs, for the intervals: where the seeds decide, that of 95 % "
    "from 5 seeds misses the truth in 14 % of simulated studies. Dropped before any training, for "
    "the mixed model (`demucs_core/metrics/seeded_comparison.py`).",
)
"""What was tried for this study, and dropped."""
