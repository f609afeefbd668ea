"""The commands that look at the models and detectors of a workspace, name, compare and delete them.

None needs torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any

import cyclopts
from cyclopts import Parameter
from rich.console import Console

from flows.cli.lines import say
from flows.inputs import registry
from flows.inputs.given_names import Kind, give_name
from flows.inputs.inventory import Network, networks_of
from flows.reports.terminal_table import print_table
from storage.errors import UserError
from storage.tables.manifests import Manifests
from storage.workspace import Workspace

console = Console()
EXIT_NOT_DONE = 1
SCORED_BY = {"models": "SDR", "detectors": "precision"}


def _app_of(kind: Kind, text: str) -> cyclopts.App:
    what = kind[:-1]
    app = cyclopts.App(name=kind, help=text)

    def show(*, workspace: str = "workspace") -> None:
        place = Workspace(workspace)
        found = networks_of(Manifests(place), kind)
        if not found:
            say(f"no {what} yet; {place.command(registry.MADE_BY[kind])}")
            return
        sources = place.music.sources
        columns = [*sources, *(["mean"] if kind == "models" else [])]
        scored = [f"{SCORED_BY[kind]} {column}" for column in columns]
        of = ["of"] if kind == "models" else []  # a detector's are of the songs it stands on
        headings = [what, "names", "architecture", "heard", "steps", "hours", *scored, *of]
        rows = (
            [*_row(each), *_scores(scores, columns), *([songs] if of else [])]
            for each in found
            for songs, scores in (each.scores or {"": {}}).items()
        )
        print_table(console, headings, rows)

    def name(known: str, name: str, *, workspace: str = "workspace") -> None:
        place = Workspace(workspace)
        known_id = _known(place, kind, known)
        before = give_name(place, kind, known_id, name)
        say(f"{name}: {known_id}{f', before {before}' if before not in ('', known_id) else ''}")

    def compare(first: str, second: str, *, workspace: str = "workspace") -> None:
        place = Workspace(workspace)
        by_id = {each.id: each for each in networks_of(Manifests(place), kind)}
        both = [by_id[_known(place, kind, known)] for known in (first, second)]
        facts = [_facts(each, SCORED_BY[kind]) for each in both]
        fields = dict.fromkeys([*facts[0], *facts[1]])
        rows = [[field, *(each.get(field, "") for each in facts)] for field in fields]
        unlike = [row for row in rows if row[1] != row[2]]
        print_table(console, ["", both[0].id, both[1].id], unlike)
        if kind == "models":
            command = place.command(f"evaluate --models {both[0].id},{both[1].id}")
            say(f"song by song, with a test: {command}")

    def remove(
        known: str,
        *,
        workspace: str = "workspace",
        yes: Annotated[bool, Parameter(help="Delete it; without, only say what depends.")] = False,
    ) -> int:
        from flows.provenance.deletion import delete, dependents  # which import DuckDB

        place = Workspace(workspace)
        known_id = _known(place, kind, known)
        for line in dependents(place, kind, known_id):
            say(f"depends on it: {line}")
        if not yes:
            say(f"{what} {known_id} is still there; --yes deletes it, and leaves what was made")
            return EXIT_NOT_DONE
        say(f"{what} {known_id} deleted: {delete(place, kind, known_id)} files")
        return 0

    commands: dict[str, tuple[Callable[..., Any], str]] = {
        "name": (name, f"Give a {what} a NAME, which every option takes that takes a {what}; "
                 "`default` is taken where none is told."),
        "compare": (compare, f"Show in what two {kind} differ: parameters, what they heard, "
                    "scores."),
        "delete": (remove, f"Delete a {what}, once what depends on it was said; can't be undone."),
    }  # fmt: skip
    show.__doc__ = text
    app.default(show)
    for command, (function, says) in commands.items():
        function.__doc__ = says
        app.command(function, name=command)
    return app


def _known(workspace: Workspace, kind: Kind, known: str) -> str:
    """The id meant by an id or a name; nothing is meant by none."""
    if not known:
        raise UserError(f"name one of the {kind}: {workspace.command(kind)} lists them")
    return registry.resolve(workspace, kind, known)


def _row(network: Network) -> list[Any]:
    counts = network.counts
    heard = f"{counts.get('songs', '?')} songs"
    if counts.get("remixes"):
        heard += f", {counts['remixes']} remixes"
    if network.stands_on:
        heard += f", stands on {network.stands_on}"
    if network.num_forgotten:
        heard += f", {network.num_forgotten} forgotten since: retrain"
    hours = "" if network.hours is None else f"{network.hours:.2f}"
    names = ", ".join(network.names)
    return [network.id, names, network.architecture, heard, counts.get("steps", ""), hours]


def _scores(scores: Mapping[str, float], columns: list[str]) -> list[str]:
    return [f"{scores[each]:.2f}" if each in scores else "" for each in columns]


def _facts(network: Network, scored_by: str) -> dict[str, object]:
    """All that is known of a model or detector, by dotted names."""
    told = network.description
    facts: dict[str, object] = {"names": ", ".join(network.names)}
    for part in ("model", "detector", "parameters", "training", "made_from", "counts"):
        facts |= _flat(part, told.get(part, {}))
    if network.stands_on:
        facts["stands on"] = network.stands_on
    if network.hours is not None:
        facts["hours"] = f"{network.hours:.2f}"
    return facts | {
        f"{scored_by} {each}, {songs}": f"{value:.3f}"
        for songs, scores in network.scores.items()
        for each, value in scores.items()
    }


def _flat(name: str, value: object) -> dict[str, object]:
    if not isinstance(value, Mapping):
        return {name: value}
    flat: dict[str, object] = {}
    for key, each in value.items():
        flat |= _flat(f"{name}.{key}", each)
    return flat


models_app = _app_of(
    "models", "List the models of a workspace: what they heard, what they cost, their scores."
)
detectors_app = _app_of(
    "detectors", "List the detectors of a workspace: what they heard, what they cost, their scores."
)
