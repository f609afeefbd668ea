"""What ``extract`` is told: the corpus, the detector, and the policy."""

from __future__ import annotations

from pydantic import Field

from flows.policy.options import PolicyOptions
from flows.running.parameters import CorpusName, StageParameters
from flows.running.selection_options import SelectionOptions


class ExtractParameters(PolicyOptions, SelectionOptions, StageParameters):
    """Which corpus to extract from, by which detector's scores."""

    corpus: CorpusName = Field("music", description="Corpus whose scores are read.")
    detector: str = Field(
        "",
        description="Detector that scored, by id or name; empty takes the one named `default`, or "
        "else the newest.",
    )
    audit: str = Field(
        "", description="Audit of these segments: keep those that its answers are sure enough of."
    )
