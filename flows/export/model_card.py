"""What a model is, for whoever gets it: data, parameters, scores, licences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from demucs_core.separators.registry import SEPARATORS
from flows.reports.markdown import plain, table
from storage.tables.sql import quoted, reading
from storage.workspace import Workspace

CODE: Final[Mapping[str, str]] = {
    "open_unmix": "its authors' openunmix (MIT)",
    "htdemucs": "its authors' demucs (MIT)",
    "bs_roformer": "bs-roformer by Phil Wang (MIT)",
}
LICENCES: Final = """\
silentmix is MIT-licensed, and the architecture's code is of the licence named above. Neither says
what may be done with these weights: that depends on the music they were trained on, and on whoever
trained them. MUSDB18 and MUSDB18-HQ are for research and education alone, and parts of them are
under non-commercial licences. Name a licence here before you publish the weights."""


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """A model card in the format of model hubs: YAML, then Markdown.

    Attributes:
        name: of the model; in a workspace, its fingerprint.
        config: what the model is built of.
        num_weights: how many it has.
        description: all that is written of it.
        workspace: that it is in, if it is in one.
    """

    name: str
    config: Mapping[str, Any]
    num_weights: int
    description: Mapping[str, Any]
    workspace: Workspace | None

    def markdown(self, notes: Sequence[str]) -> str:
        """The card; ``notes`` say how to use what lies beside it."""
        sections = [
            self._head(),
            self._use(notes),
            self._data(),
            self._scores(),
            self._settings("Model", self.config),
            self._settings("Parameters of the training", self.description.get("parameters", {})),
            self._settings("Examples and steps", self.description.get("training", {})),
            f"## Licence\n\n{LICENCES}",
        ]
        return "\n\n".join(section for section in sections if section) + "\n"

    def _head(self) -> str:
        config = self.config
        architecture = config["architecture"]
        extra = SEPARATORS[architecture].extra
        code = CODE.get(architecture, f"the class {architecture}" if extra else "silentmix (MIT)")
        return (
            "---\nlibrary_name: silentmix\npipeline_tag: audio-to-audio\nlicense: other\ntags:\n"
            "- music-source-separation\n"
            f"- {architecture.partition(':')[2] or architecture}\n---\n\n"
            f"# {self.name}\n\n"
            f"Separates music into {', '.join(config['sources'])}, at {config['sample_rate']} Hz, "
            f"{config['num_channels']} channel(s). Architecture `{architecture}`, of {code}; "
            f"{self.num_weights:,} weights."
        )

    def _use(self, notes: Sequence[str]) -> str:
        lines = [
            "`silentmix separate SONG --model THIS_FOLDER` separates with it; `silentmix train "
            "--init-from THIS_FOLDER` goes on from it."
        ]
        return "## Use\n\n" + "\n".join(f"- {line}" for line in [*lines, *notes])

    def _data(self) -> str:
        description = self.description
        lines = []
        if converted := description.get("converted"):
            lines.append(
                f"Converted from {converted['from']} (SHA-256 {converted['sha256']}), a "
                f"{converted['class']}. What it was trained on, its authors know."
            )
        if began := description.get("init_from"):
            lines.append(f"Began with {began['from']} (SHA-256 {began['sha256']}).")
        if counts := description.get("counts"):
            told = ", ".join(f"{name} {value:g}" for name, value in counts.items())
            lines.append(f"Counts: {told}.")
        rows = [
            [*name.split("/"), digest]
            for name, digest in description.get("made_from", {}).items()
            if name.count("/") == 2
        ]
        if rows:
            lines.append(_table(["manifest", "corpus", "fingerprint", "digest of its rows"], rows))
        return "\n\n".join(["## Data", *lines]) if lines else ""

    def _scores(self) -> str:
        if self.workspace is None:
            return ""
        with reading(self.workspace, ("evaluations",), retired=True) as database:
            rows = database.sql(
                "SELECT corpus, fingerprint, source, count(*), median(sdr_db), median(sir_db), "
                "median(song_sdr_db) FROM evaluations "
                f"WHERE model_id = {quoted(self.name)} GROUP BY ALL ORDER BY ALL"
            ).fetchall()
        if not rows:
            return "## Scores\n\nNot evaluated."
        told = [
            [*map(str, row[:4]), *("" if value is None else f"{value:.2f}" for value in row[4:])]
            for row in rows
        ]
        heading = ["corpus", "evaluation", "source", "songs", "SDR", "SIR", "whole-song SDR"]
        about = "BSSEval v4 in dB: medians over frames, then over songs."
        return f"## Scores\n\n{about}\n\n{_table(heading, told)}"

    @staticmethod
    def _settings(heading: str, values: Mapping[str, Any]) -> str:
        rows = list(_fields(values))
        return f"## {heading}\n\n" + _table(["field", "value"], rows) if rows else ""


def _fields(values: Mapping[str, Any], prefix: str = "") -> Iterator[list[str]]:
    """Names and values, those of an object within under its own name and theirs.

    >>> list(_fields({"a": {"b": True}, "c": ["d", "e"], "f": []}))
    [['a.b', 'True'], ['c', 'd, e'], ['f', '']]
    """
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _fields(value, f"{prefix}{name}.")
        else:
            told = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            yield [f"{prefix}{name}", told]


def _table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return table(
        [
            dict(zip(heading, (plain(cell, longest=None) for cell in row), strict=True))
            for row in rows
        ]
    )
