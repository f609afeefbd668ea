"""Which device the work is done on: here, and in each Dask worker."""

from __future__ import annotations

import os

import distributed
import pytest
import torch
from prefect import flow

from flows.running.devices import WORKERS_A_GPU, most_workers, own_device, pick_device
from flows.running.execution import dask_client, results_of
from flows.running.parameters import WorkParameters
from flows.train.options import TrainOptions
from storage.errors import UserError
from tests.flows.conftest import worker_processes

HERE = WorkParameters(workers=3)
ELSEWHERE = WorkParameters(dask_address="tcp://elsewhere:8786")


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


def test_what_is_not_there_is_refused_where_the_work_is_done_here(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert pick_device("auto") == "cpu"
    assert most_workers(HERE, "auto") == most_workers(HERE, "cpu") == 0
    assert most_workers(ELSEWHERE, "cuda") == 0
    with pytest.raises(UserError, match="device 'cuda': torch finds no GPU here; use cpu or auto"):
        most_workers(HERE, "cuda")


@pytest.mark.usefixtures("two_gpus")
def test_a_few_workers_share_each_gpu() -> None:
    assert most_workers(HERE, "auto") == most_workers(HERE, "cuda") == 2 * WORKERS_A_GPU
    assert most_workers(HERE, "cuda:1") == WORKERS_A_GPU
    assert most_workers(HERE, "cpu") == 0


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize(("cores", "loaders"), [(1, 0), (8, 4), (64, 8)])
def test_examples_for_a_gpu_are_made_by_its_share_of_the_cores(
    monkeypatch: pytest.MonkeyPatch, cores: int, loaders: int
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    assert TrainOptions().execution("cuda:1").num_workers == loaders
    assert TrainOptions(loader_workers=3).execution("cuda:1").num_workers == 3
    assert TrainOptions().execution("cpu").num_workers == 0


def _whose_and_where(told: str) -> tuple[str, str]:
    """This worker's name, and its device on a machine with two GPUs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cuda, "is_available", lambda: True)
        patch.setattr(torch.cuda, "device_count", lambda: 2)
        return str(distributed.get_worker().name), own_device(told)


@flow
def _answers(parameters: WorkParameters, told: list[str], most: int) -> set[tuple[str, str]]:
    with results_of(
        _whose_and_where, told, parameters, label="devices", unit="answers", most_workers=most
    ) as answers:
        return set(answers)


def test_local_workers_take_the_gpus_in_turn_and_no_more_of_them_than_asked_for() -> None:
    with worker_processes(), dask_client(HERE):
        everywhere = _answers(HERE, ["auto"] * 12, 0)
        some = _answers(HERE, ["auto"] * 12, 2)
        one = _answers(HERE, ["cuda:1"], 0)
    assert {("0", "cuda:0"), ("1", "cuda:1"), ("2", "cuda:0")} >= everywhere
    assert {("0", "cuda:0"), ("1", "cuda:1")} >= some
    assert {device for _, device in one} == {"cuda:1"}


def test_the_workers_of_somebodys_cluster_take_the_gpu_that_they_are_shown() -> None:
    loopback = {"host": "127.0.0.1", "dashboard": False}
    cluster = distributed.SpecCluster(
        scheduler={"cls": distributed.Scheduler, "options": loopback},
        workers={"node-7": {"cls": distributed.Worker, "options": {**loopback, "nthreads": 1}}},
    )
    with worker_processes(), cluster:
        parameters = WorkParameters(dask_address=cluster.scheduler_address)
        assert _answers(parameters, ["auto"], 0) == {("node-7", "cuda")}
