"""Detectors and models that somebody else made: weights and descriptions."""

from __future__ import annotations

import json
import random
import shutil
import struct
from collections.abc import Sequence
from pathlib import Path

from safetensors.torch import save

from benchmarks.fuzzing.mutation import mutated_value
from benchmarks.fuzzing.target import Bytes, in_short
from demucs_core.detector.registry import build_detector, detector_config, new_detector_config
from demucs_core.separators.registry import SEPARATORS, build_model
from flows.inputs import networks, registry
from flows.separate.model_folder import load_folder
from storage.errors import UserError
from storage.workspace import Workspace

_LENGTH = struct.Struct("<Q")
_VALUES = (
    1_000_000_000, "drums", "other", ["bass"], ["a/b", "../x"], "os.system", "subprocess:Popen",
    "logmel-tcn", "demucs-blstm", "htdemucs", "imported", "F64", "BF16", "F8_E4M3", "I64", [0, 0],
    [0, 2**62], [2**31, 2**33], [1, 1, 1, 1, 1],
)  # fmt: skip


class Weights(Bytes):
    """A folder of a detector or a model, of which the weights or the description were changed.

    A case is the description's length, the description, and the weights.
    """

    name = "weights"
    own_tokens = (b'"F32"', b'"BF16"', b'"shape":[', b'"data_offsets":[', b'"__metadata__"', b"{}")

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        shutil.rmtree(folder / "workspace", ignore_errors=True)
        self._workspace = Workspace(str(folder / "workspace"), create=True)

    def seeds(self) -> list[bytes]:
        """A small detector and a small model."""
        music = self._workspace.music
        detector = build_detector(
            new_detector_config(
                "logmel-crnn", sources=music.sources, sample_rate=music.sample_rate,
                num_channels=music.num_channels, hop_samples=music.hop_samples, hidden_channels=4,
            ),
            seed=0,
        )  # fmt: skip
        model = build_model(
            {
                "architecture": "demucs", "channels": 4, "depth": 2, "sources": list(music.sources),
                "sample_rate": music.sample_rate, "num_channels": music.num_channels,
            },
            seed=0,
        )  # fmt: skip
        described = (
            ({"detector": detector_config(detector)}, detector),
            ({"model": SEPARATORS.to_json(model.config)}, model),
        )
        return [
            joined(json.dumps(told).encode(), save(module.state_dict()))
            for told, module in described
        ]

    def mutated(
        self, draws: random.Random, content: bytes, tokens: Sequence[bytes], pool: Sequence[bytes]
    ) -> bytes:
        """Other bytes, other values in the description, or another header of the weights."""
        description, weights = parted(content)
        what = draws.random()
        try:
            if what < 0.4:
                told = mutated_value(draws, json.loads(description), _VALUES)
                return joined(json.dumps(told).encode("utf-8", "replace"), weights)
            if what < 0.8:
                (length,) = _LENGTH.unpack_from(weights)
                header = mutated_value(draws, json.loads(weights[8 : 8 + length]), _VALUES)
                text = json.dumps(header).encode("utf-8", "replace")
                return joined(description, _LENGTH.pack(len(text)) + text + weights[8 + length :])
        except (ValueError, struct.error, RecursionError):
            pass
        if what > 0.9:
            return joined(super().mutated(draws, description, tokens, pool), weights)
        return joined(description, super().mutated(draws, weights, tokens, pool))

    def run(self, content: bytes, draws: random.Random) -> str:  # noqa: ARG002
        """Load it as stages load a detector, and as ``separate`` loads a folder."""
        description, weights = parted(content)
        said = []
        for kind in ("detectors", "models"):
            folder = Path(self._workspace.root) / kind / "case"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / registry.DESCRIPTION).write_bytes(description)
            (folder / registry.WEIGHTS).write_bytes(weights)
            try:
                if kind == "detectors":
                    networks.load_detector.__wrapped__(self._workspace, "case", "cpu")
                else:
                    load_folder(folder)
                    networks.load_model.__wrapped__(self._workspace, "case", "cpu")
                said.append("loaded")
            except UserError as error:
                said.append(in_short(error))
        return " | ".join(said)


def joined(description: bytes, weights: bytes) -> bytes:
    """A case."""
    return _LENGTH.pack(len(description)) + description + weights


def parted(content: bytes) -> tuple[bytes, bytes]:
    """The description and the weights of a case."""
    length = min(_LENGTH.unpack_from(content.ljust(8, b"\0"))[0], len(content))
    return content[8 : 8 + length], content[8 + length :]
