"""The chain: every stage in turn, each as a flow run of its own below this one."""

from __future__ import annotations

from contextlib import nullcontext

from prefect import flow, tags

from flows.catalogue import BY_NAME, CHAIN, Entry
from flows.pipeline.options import PipelineParameters
from flows.policy.typed_options import of_chain
from flows.reports.artifacts import Report
from flows.reports.markdown import number, plain, table
from flows.running.chain import Chain
from flows.running.execution import dask_client
from flows.running.stage import StageResult, run_stage
from flows.running.stage_result import results_in
from flows.running.under_way import new_run_id
from flows.server.announcements import TAG
from flows.server.deployed import as_deployed
from flows.server.pages import OVERVIEW, key_path
from flows.train.chosen import as_chosen
from storage.errors import UserError
from storage.workspace import Workspace


@flow(name="pipeline", flow_run_name="pipeline {parameters.corpus}")
def pipeline(parameters: PipelineParameters) -> list[StageResult]:
    """Run the stages in turn; what is done already is not done again."""
    parameters = as_deployed(parameters)
    parameters = parameters.model_copy(update={"train": as_chosen(parameters.train)})
    chain = begin(parameters)
    with tags(TAG), nullcontext() if parameters.dry_run else dask_client(parameters):
        _run(chain)
        if not (parameters.dry_run or all(result.already_done for result in chain.results)):
            _report(chain)
    return chain.results


def begin(parameters: PipelineParameters) -> Chain:
    """The chain before its first stage.

    Raises:
        UserError: it is known by now that a stage would refuse its work.
    """
    chain, (first, *_) = Chain(parameters), parameters.stages_in_rounds
    BY_NAME[first].beside_flow("in_chain")(chain)  # refuses what was not named
    look_ahead(chain)
    return chain


def _report(chain: Chain) -> None:
    """Leave a report of the chain's run: what each stage made, in turn."""
    run_id = new_run_id("pipeline")
    report = Report(Workspace(chain.parameters.workspace), "pipeline", run_id)
    rows = [
        {
            "stage": result.stage,
            "corpus": plain(result.corpus),
            "made": f"`{result.fingerprint}`{' (was done)' if result.already_done else ''}",
            "counts": ", ".join(
                f"{plain(name)} {number(value)}" for name, value in result.counts.items()
            ),
        }
        for result in chain.results
    ]
    report.text(table(rows))
    for result in chain.results:
        for note in result.notes:
            report.text(plain(f"{result.stage} {result.corpus}: {note}"))
    report.text(f"[The workspace as a whole]({key_path(OVERVIEW)})")
    stages = ", ".join(chain.parameters.stages_in_rounds)
    report.publish(f"pipeline {chain.parameters.corpus}: {stages}")


def _run(chain: Chain) -> None:
    waits_for = ""
    for entry in map(BY_NAME.__getitem__, chain.parameters.stages_in_rounds):
        try:
            if not waits_for:
                _run_stage(entry, chain)
                continue
        except UserError:
            pending = [found.stage for found in chain.results if not found.already_done]
            if not (chain.parameters.dry_run and pending):
                raise
            waits_for = pending[-1]  # this one reads what nobody made yet
        chain.results.append(
            StageResult(stage=entry.name, corpus="", fingerprint="", waits_for=waits_for)
        )


def _run_stage(entry: Entry, chain: Chain) -> None:
    stage_flow = entry.load_flow()
    for each in entry.beside_flow("in_chain")(chain):
        if chain.results and entry.name == chain.parameters.stages[0]:
            # the labelled set, of which more is known now, comes before the music
            look_ahead(chain)
        with of_chain():
            chain.results += results_in(run_stage(stage_flow, each))


def look_ahead(chain: Chain) -> None:
    """Refuse now what a stage would refuse later, as far as it can be known.

    Raises:
        UserError: as the stage would.
    """
    for entry in CHAIN:
        if entry.name in chain.parameters.stages and (ahead := entry.may_have("ahead")):
            ahead(chain)
