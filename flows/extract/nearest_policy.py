"""Where a policy extracts nothing of a source: the nearest policy that would, in a sentence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from flows.policy.calibration import calibrated
from flows.policy.options import PolicyOptions
from flows.yields.flow import YieldBatch, Yields, thresholds_of, yields_of_batch
from storage.errors import UserError
from storage.tables.manifests import Manifests, Partition, RowGroup

NUM_TRACKS = 500
DURATIONS_S = (10.0, 5.0, 3.0, 2.0, 1.0, 0.5)
PRECISIONS = (0.98, 0.95, 0.9, 0.8, 0.7, 0.5)


def why_nothing(
    manifests: Manifests,
    scores: Partition,
    detector: str,
    options: PolicyOptions,
    sources: Sequence[str],
) -> list[str]:
    """For sources that a policy extracts nothing of, the nearest policy that would: a line each.

    Tries shorter segments, then lower precisions, each with the thresholds that it calibrates to,
    on some ``NUM_TRACKS`` tracks spread over the corpus.
    """
    groups = list(_some_row_groups(manifests, scores))
    found: dict[str, list[str]] = {source: [] for source in sources}
    for field, values in (("min_duration_s", DURATIONS_S), ("target_precision", PRECISIONS)):
        missing = set(sources)
        for value in values:
            if not missing or value >= getattr(options, field):
                continue
            other = options.model_copy(update={field: value})
            minutes = _minutes(manifests, groups, detector, other)
            for source in sorted(missing):
                if minutes.get(source):
                    missing.remove(source)
                    found[source].append(f"{field} {value:g} would find {minutes[source]:.1f} min")
    looked = "in all of the corpus"
    if len(groups) < len(manifests.row_groups(scores)):
        looked = f"in about {NUM_TRACKS} tracks of the corpus"
    nothing = "nor is there any with shorter segments or with a lower precision"
    return [
        f"nothing without {source}, at min_duration_s {options.min_duration_s:g} and "
        f"target_precision {options.target_precision:g}; {', '.join(said) or nothing} {looked}"
        for source, said in found.items()
    ]


def _minutes(
    manifests: Manifests, groups: Sequence[RowGroup], detector: str, options: PolicyOptions
) -> dict[str, float]:
    """Minutes a source that a policy would extract; of those whose precision can be promised."""
    try:
        calibration = calibrated(manifests.workspace, detector, options)
    except UserError:
        return {}
    thresholds = tuple(sorted(thresholds_of(calibration)))
    total = Yields.nothing(manifests.workspace.music, thresholds, [options.min_duration_s])
    for group in groups:
        batch = YieldBatch(
            manifests.workspace, group, options.policy, thresholds, total.min_durations_s
        )
        total.add(yields_of_batch(batch))
    return {
        source.source: total.seconds[thresholds.index(source.threshold), 0, index] / 60
        for index, source in enumerate(calibration.sources)
        if source.threshold is not None and not source.overridden
    }


def _some_row_groups(manifests: Manifests, scores: Partition) -> Iterator[RowGroup]:
    """Row groups spread over the partition, with some ``NUM_TRACKS`` tracks."""
    groups = manifests.row_groups(scores)
    step = max(1, round(manifests.count(scores) / NUM_TRACKS))
    yield from groups[::step]
