"""The curves of the study: each point is the study itself with another value of one parameter."""

from __future__ import annotations

from dataclasses import dataclass

from flows.studies.paper.parameters import PaperParameters


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One parameter that changes.

    Attributes:
        field: of :class:`PaperParameters`.
        values: of it; that of the study is on the curve too.
        arms: what is trained with each.
        title: what the plot calls it.
    """

    field: str
    values: tuple[float, ...]
    arms: tuple[str, ...]
    title: str


def curves_of(parameters: PaperParameters) -> list[Curve]:
    """The curves of a study; of a user's own music, those that need no other songs."""
    steps = tuple(max(1, parameters.steps // share) for share in (8, 4, 2, 1))
    general = [
        Curve(
            field="weak_share",
            values=(0.25, 0.5, 0.75),
            arms=("5",),
            title="share of remixes in a batch",
        ),
        Curve(field="steps", values=steps, arms=("3", "5"), title="steps"),
    ]
    if parameters.labelled:
        return general
    return [
        Curve(
            field="unlabelled_songs",
            values=(10, 30, 100, 300),
            arms=("5",),
            title="unlabelled songs",
        ),
        Curve(
            field="labelled_songs", values=(1, 3, 10, 30), arms=("3", "5"), title="labelled songs"
        ),
        Curve(
            field="true_precision",
            values=(0.8, 0.9, 0.95, 1.0),
            arms=("6",),
            title="precision of the silences",
        ),
        *general,
    ]


def at_point(parameters: PaperParameters, curve: Curve, value: float) -> PaperParameters:
    """The study with another value of the curve's parameter."""
    kind = type(getattr(parameters, curve.field))
    fields = parameters.model_dump(exclude={"preset"}) | {curve.field: kind(value)}
    return PaperParameters.model_validate({"preset": parameters.preset, **fields})
