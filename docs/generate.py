"""Write the reference pages and ``prefect.yaml`` from the code: ``python docs/generate.py``."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable
from functools import partial
from pathlib import Path

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from flows.catalogue import CATALOGUE, FOLLOWING, POOLS, Entry
from flows.server.announcements import TAG
from storage.tables.schemas import TABLES

DOCS = Path(__file__).parent

PREFECT_HEADER = """\
# Deployments of every flow, written by `make docs` from flows/catalogue.py. `silentmix up`
# registers them with your Prefect server (and so does `prefect deploy --all`, with
# SILENTMIX_WORKSPACE set); their parameters are those of `silentmix STAGE --help`.
name: silentmix
"""


def manifests_page() -> str:
    """Every manifest and field."""
    lines = [
        "# Manifests",
        "",
        "Parquet datasets in `manifests/<table>/corpus=…/fingerprint=…/*.parquet`. A partition is "
        "one stage's output",
        "with one set of parameters; no stage overwrites anything in it. Any Parquet reader that "
        "knows Hive",
        "partitions adds the columns `corpus` and `fingerprint`:",
        "",
        "```python",
        'pandas.read_parquet("results/manifests/tracks")',
        "```",
        "",
        "[`compact`](operations.md#few-large-parts) joins small parts into "
        "`joined/compact-<hash>.parquet` of the",
        "same folder. Its metadata `silentmix.replaces` names the parts that it replaces, "
        "`silentmix.items` what it",
        "covers, and `silentmix.spans` how many items and rows it has of each. While the parts "
        "that it replaces are",
        "there still, for a day at least, only readers that know of it see each row once: "
        "`silentmix manifests query`",
        "and `storage.tables.manifests`.",
    ]
    for table in TABLES.values():
        lines += ["", f"## {table.name}", "", f"{table.description} Version {table.version}."]
        lines += ["", "| field | type | meaning |", "|---|---|---|"]
        lines += [f"| `{name}` | `{kind}` | {text} |" for name, kind, text in table.fields]
    return "\n".join(lines) + "\n"


def parameters_page() -> str:
    """Every flow's parameters."""
    lines = [
        "# Parameters",
        "",
        "The same fields on the command line (`--min-duration-s 5`), in a YAML configuration, and "
        "in the Prefect",
        "UI's run form. Lists have commas between their values (`--libraries a,b`), or their "
        "option several times;",
        "`published` alone, whose paths may hold commas, takes one at a time.",
        "",
        "| flow | work pool | starts | writes |",
        "|---|---|---|---|",
        *map(_flow_row, CATALOGUE),
    ]
    for entry in CATALOGUE:
        lines += ["", f"## {entry.name}", "", inspect.getdoc(entry.load_flow()) or ""]
        lines += ["", "| field | default | meaning |", "|---|---|---|"]
        for field, info in entry.load_parameters().model_fields.items():
            lines.append(f"| `{field}` | {_default(info)} | {info.description} |")
    return "\n".join(lines) + "\n"


def _flow_row(entry: Entry) -> str:
    """Where a flow runs, when, and what it leaves, besides ``rejects``, ``heard`` and ``runs``."""
    starts = ["by hand"]
    if entry.schedule is not None:
        starts.append(f"by the schedule `{entry.schedule.slug}` (`{entry.schedule.cron}`, off)")
    starts += [
        f"after `{name}`" for name, following in FOLLOWING.items() if following == entry.name
    ]
    writes = ", ".join(f"[`{table}`](manifests.md#{table})" for table in entry.writes)
    return f"| [{entry.name}](#{entry.name}) | {entry.pool} | {', '.join(starts)} | {writes} |"


def _default(info: FieldInfo) -> str:
    if info.is_required():
        return "required"
    return "see its section" if isinstance(info.default, BaseModel) else f"`{info.default!r}`"


def prefect_yaml() -> str:
    """What ``prefect deploy --all`` deploys: every flow, in its pool."""
    parts = [PREFECT_HEADER, "definitions:", "  work_pools:"]
    for pool, (limit, _) in POOLS.items():
        comment = " # takes one job at a time" if limit == 1 else ""
        parts += [f"    {pool}: &{pool}", f"      name: {pool}{comment}"]
    parts += ['  workspace: &workspace "{{ $SILENTMIX_WORKSPACE }}"', "", "deployments:"]
    return "\n".join(parts) + "\n" + "\n".join(map(_deployment, CATALOGUE))


def _deployment(entry: Entry) -> str:
    wrapped = "\n".join(textwrap.wrap(entry.deployed, 94, break_on_hyphens=False))
    lines = [
        f"  - name: {entry.name}",
        f"    entrypoint: {entry.flow}",
        "    description: >-",
        textwrap.indent(wrapped, " " * 6),
        f"    tags: [{TAG}, {entry.name}]",
        f"    work_pool: *{entry.pool}",
        "    parameters:",
        "      parameters: {workspace: *workspace}",
    ]
    if entry.schedule is not None:
        lines += [
            "    schedules:",
            f'      - cron: "{entry.schedule.cron}"',
            "        timezone: UTC",
            f"        slug: {entry.schedule.slug}",
            "        active: false",
        ]
    return "\n".join(lines) + "\n"


def api_page(package: str) -> str:
    """The modules of a package, whose docstrings the site shows."""
    folder = DOCS.parent / package.replace(".", "/")
    modules = sorted(path.stem for path in folder.glob("*.py") if not path.stem.startswith("_"))
    lines = [f"# {package}", "", f"::: {package}", "    options:", "      heading_level: 2"]
    for module in modules:
        lines += ["", f"::: {package}.{module}"]
    return "\n".join(lines) + "\n"


def api_packages() -> list[str]:
    """What somebody would build on: the science, by what it is about, and the storage."""
    rooms = {
        package: sorted(path.parent.name for path in DOCS.parent.glob(f"{package}/*/__init__.py"))
        for package in ("demucs_core", "storage")
    }
    return [
        page
        for package, names in rooms.items()
        for page in (package, *(f"{package}.{name}" for name in names))
    ]


PAGES: dict[str, Callable[[], str]] = {
    **{f"api/{package}.md": partial(api_page, package) for package in api_packages()},
    "manifests.md": manifests_page,
    "parameters.md": parameters_page,
    "../prefect.yaml": prefect_yaml,
}


def main() -> None:
    """Write the pages."""
    for name, page in PAGES.items():
        path = DOCS / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
