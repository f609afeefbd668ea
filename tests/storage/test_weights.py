from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors.numpy import save

from storage.weights import WeightsError, load_tensors, save_tensors
from storage.workspace import Workspace


def test_what_is_saved_is_loaded(workspace: Workspace) -> None:
    tensors: dict[str, np.ndarray] = {
        "scalar": np.array(3.5, np.float32),
        "matrix": np.arange(6, dtype=np.float32).reshape(2, 3).T,
        "counts": np.array([1, 2], dtype=np.int64),
    }
    save_tensors(workspace, "models/a/w.safetensors", tensors, {"state": {"step": 3, "x": [1.5]}})
    loaded, metadata = load_tensors(workspace, "models/a/w.safetensors")
    assert metadata == {"state": {"step": 3, "x": [1.5]}}
    for name, value in tensors.items():
        assert loaded[name].shape == value.shape
        assert loaded[name].dtype == value.dtype
        assert np.array_equal(loaded[name], value)


def test_missing_and_damaged_weights_are_named(workspace: Workspace) -> None:
    with pytest.raises(WeightsError, match=r"none.safetensors: no such weights"):
        load_tensors(workspace, "none.safetensors")
    save_tensors(workspace, "w.safetensors", {"a": np.zeros(100, np.float32)})
    workspace.put_bytes("w.safetensors", workspace.read("w.safetensors")[:50])
    with pytest.raises(WeightsError, match=r"w.safetensors: damaged weights"):
        load_tensors(workspace, "w.safetensors")


def test_one_bit_of_the_weights_is_noticed(workspace: Workspace) -> None:
    sha256 = save_tensors(workspace, "w.safetensors", {"a": np.ones(100, np.float32)})
    load_tensors(workspace, "w.safetensors", sha256=sha256)
    content = bytearray(workspace.read("w.safetensors"))
    content[-1] ^= 1
    workspace.put_bytes("w.safetensors", bytes(content))
    load_tensors(workspace, "w.safetensors")  # 0.1.0 noted no hash
    with pytest.raises(WeightsError, match=r"w.safetensors: damaged weights .*silentmix fsck"):
        load_tensors(workspace, "w.safetensors", sha256=sha256)


def test_weights_of_a_kind_that_is_not_known_are_named(workspace: Workspace) -> None:
    header = json.dumps({"a": {"dtype": "BF16", "shape": [1], "data_offsets": [0, 2]}}).encode()
    workspace.put_bytes("w.safetensors", len(header).to_bytes(8, "little") + header + b"\0\0")
    with pytest.raises(WeightsError, match=r"w.safetensors: weights of a kind .*'BF16'"):
        load_tensors(workspace, "w.safetensors")


def test_text_beside_the_arrays_that_nests_too_deep_is_a_text(workspace: Workspace) -> None:
    deep = "[" * 100_000
    workspace.put_bytes("w", save({"a": np.zeros(1, np.float32)}, metadata={"told": deep}))
    assert load_tensors(workspace, "w")[1] == {"told": deep}
