"""What the chain of all stages is told, beside how each stage works."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter
from pydantic import Field

from flows.catalogue import STAGES
from flows.running.music_options import MusicOptions
from flows.running.parameters import CorpusName, Libraries, Location, StageParameters
from storage.errors import UserError

if TYPE_CHECKING:
    Stage = str
else:
    Stage = Literal[STAGES]

MUSIC = ("labelled", "unlabelled")
"""What the chain is to ingest."""

ROUND = STAGES[STAGES.index("fit-detector") : STAGES.index("train") + 1]
"""The stages of a round."""


class ChainParameters(MusicOptions, StageParameters):
    """The labelled set, the unlabelled music, and which stages work on them."""

    labelled: Location = Field(
        "", description="Labelled set: folder of MUSDB18, MUSDB18-HQ or stem folders."
    )
    unlabelled: Location = Field(
        "", description="Unlabelled music: a folder, a glob, a list of files (.txt, .m3u) or a URL."
    )
    labelled_corpus: CorpusName = Field("labelled", description="Name of the labelled corpus.")
    libraries: Libraries = Field([])
    corpus: CorpusName = Field("music", description="Name of the unlabelled corpus.")
    from_stage: Annotated[Stage, Parameter(name=["--from-stage", "--from"])] = Field(
        STAGES[0], description="First stage to run."
    )
    until_stage: Annotated[Stage, Parameter(name=["--until-stage", "--until"])] = Field(
        STAGES[-1], description="Last stage to run."
    )
    detector: str = Field(
        "", description="Detector for the stages after fit-detector, if that stage does not run."
    )
    baseline: bool = Field(
        True, description="Train and evaluate a model on labelled songs alone too, to compare."
    )
    rounds: int = Field(
        1,
        ge=1,
        le=9,
        description="How often the stages from fit-detector to train run. From the second time on, "
        "the detector is made of the model that was trained the time before.",
    )

    @property
    def stages(self) -> tuple[str, ...]:
        """The stages that run.

        Raises:
            UserError: the last comes before the first.
        """
        first, last = STAGES.index(self.from_stage), STAGES.index(self.until_stage)
        if last < first:
            raise UserError(
                f"until_stage {self.until_stage!r} comes before from_stage {self.from_stage!r}; "
                f"the order is {', '.join(STAGES)}"
            )
        return STAGES[first : last + 1]

    @property
    def stages_in_rounds(self) -> tuple[str, ...]:
        """The stages in the order in which they run, those of a round once a round.

        Raises:
            UserError: there are several rounds, and not all stages of one run.
        """
        stages = self.stages
        if self.rounds == 1:
            return stages
        if missing := [stage for stage in ROUND if stage not in stages]:
            raise UserError(
                f"rounds {self.rounds}: a round is {', '.join(ROUND)}, and this chain runs no "
                f"{', '.join(missing)}; begin with --from {ROUND[0]} or earlier, end with --until "
                f"{ROUND[-1]} or later, or leave rounds at 1"
            )
        after = stages.index(ROUND[-1]) + 1
        return (*stages[:after], *ROUND * (self.rounds - 1), *stages[after:])

    def require_music(self) -> None:
        """Refuse a chain that is to ingest what was not named.

        Raises:
            UserError: names it.
        """
        for name in MUSIC if "ingest" in self.stages else ():
            if not getattr(self, name):
                raise UserError(
                    f"{name} is required for the stage ingest: name the {name} music with --{name} "
                    "PLACE, or begin at a later stage with --from score"
                )
