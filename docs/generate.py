"""Write the reference pages from the code: ``python docs/generate.py``."""

from __future__ import annotations

from pathlib import Path

from pydantic_core import PydanticUndefined

from flows.cli.pipeline_commands import STAGE_FLOWS
from storage.schemas import TABLES

DOCS = Path(__file__).parent


def manifests_page() -> str:
    """Every manifest and field."""
    lines = [
        "# Manifests",
        "",
        "Parquet datasets in `manifests/<table>/corpus=…/fingerprint=…/*.parquet`. A partition is "
        "one stage's output",
        "with one set of parameters; nothing in it is ever overwritten. Any Parquet reader that "
        "knows Hive",
        "partitions adds the columns `corpus` and `fingerprint`:",
        "",
        "```python",
        'pandas.read_parquet("results/manifests/tracks")',
        "```",
    ]
    for table in TABLES.values():
        lines += ["", f"## {table.name}", "", f"{table.description} Version {table.version}."]
        lines += ["", "| field | type | meaning |", "|---|---|---|"]
        lines += [f"| `{name}` | `{kind}` | {text} |" for name, kind, text in table.fields]
    return "\n".join(lines) + "\n"


def parameters_page() -> str:
    """Every stage's parameters."""
    lines = [
        "# Parameters",
        "",
        "The same fields on the command line (`--min-duration-s 5`), in a YAML configuration, and "
        "in the Prefect",
        "UI's run form.",
    ]
    for name, (stage_flow, model) in STAGE_FLOWS.items():
        lines += ["", f"## {name}", "", (stage_flow.__doc__ or "").strip()]
        lines += ["", "| field | default | meaning |", "|---|---|---|"]
        for field, info in model.model_fields.items():
            default = "required" if info.default is PydanticUndefined else f"`{info.default!r}`"
            lines.append(f"| `{field}` | {default} | {info.description} |")
    return "\n".join(lines) + "\n"


PAGES = {"manifests.md": manifests_page, "parameters.md": parameters_page}


def main() -> None:
    """Write the pages."""
    for name, page in PAGES.items():
        (DOCS / name).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
