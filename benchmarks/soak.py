"""A soak of the whole stack: ``python -m benchmarks.soak [--runs 50] [--corpora 10]``.

A service that ``silentmix up`` stands up on a temporary workspace runs ingests that are scheduled,
and what its automations start after them: a scoring, then an extraction. Meanwhile files arrive in
the corpora, and processes are killed outright: Dask workers, runs, Prefect workers, the server, and
all of a machine. Whoever finds the service down says ``silentmix up`` again; a run that ended badly
is scheduled again. Then every stage once more in quiet, from the command line as it were.

After it, every file of every corpus must be in ``tracks`` or ``rejects`` once, every track in
``scores`` once, and every row of these and of ``segments`` as in a workspace that was made of the
same files in one go. No run may be stuck, no process and no temporary file be left behind.

The last line is JSON: counts of what is wrong (``missing``, ``duplicated`` and ``different`` rows,
``stuck`` runs, ``left`` files and processes), of the runs by ``states`` and of the ``kills``. The
exit status is 1 if anything is wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from benchmarks.soaking.checks import COMPARED, Findings, check_corpus, read_corpus
from benchmarks.soaking.music import Music
from benchmarks.soaking.stages import FIELDS, fit_detector, forget_settings, run_stages
from flows.server.process import configure_prefect
from storage.tables.manifests import Manifests
from storage.workspace import Workspace

LOST_AFTER = timedelta(seconds=100)
"""Three signs of life."""

MOST_LINES = 20
EXIT_WRONG = 1
DISTURBED, UNDISTURBED = "disturbed", "undisturbed"


def _check(root: Path, music: Music) -> Findings:
    disturbed, undisturbed = (
        Manifests(Workspace(str(root / name))) for name in (DISTURBED, UNDISTURBED)
    )
    found = Findings()
    for corpus in music.corpora:
        rows = read_corpus(disturbed, corpus)
        for table in COMPARED:
            found.counts[table] += len(rows[table])
        check_corpus(found, corpus, music.files(corpus), rows, read_corpus(undisturbed, corpus))
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="the whole stack, while its processes are killed")
    parser.add_argument("--runs", type=int, default=50, help="of stages, before the kills end")
    parser.add_argument("--corpora", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(arguments)
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        music = Music(root / "music", args.corpora, args.seed)
        fit_detector(root / DISTURBED, music)
        shutil.copytree(
            root / DISTURBED, root / UNDISTURBED, ignore=shutil.ignore_patterns(".prefect")
        )
        forget_settings()
        configure_prefect(str(root / DISTURBED), os.environ)
        from benchmarks.soaking.course import Soak  # Prefect takes its settings when imported
        from benchmarks.soaking.stack import standing, states

        with standing(root / DISTURBED, lost_after=LOST_AFTER) as stack:
            stack.choose(FIELDS)
            soak = Soak(stack, music, args.seed)
            soak.say(f"the service is up at {stack.address}")
            soak.disturbed(args.runs)
            stuck = soak.end()
            ended = states(stack.runs())
            stack.switch_automations_off()
            run_stages(root / DISTURBED, music, stack.address)
        left = [f"process {process.cmdline()}" for process, _ in soak.saboteur.processes()]
        left += [f"file {path}" for path in (root / DISTURBED).rglob("*.tmp")]
        database_mib = (root / DISTURBED / ".prefect" / "prefect.db").stat().st_size / 2**20
        soak.say("the service is down; the same again in one go")
        run_stages(root / UNDISTURBED, music)
        found = _check(root, music)
    lines = {
        "missing": found.missing,
        "duplicated": found.duplicated,
        "different": found.different,
        "stuck": [f"{run.name}: {run.state}" for run in stuck],
        "left": left,
    }
    for what, items in lines.items():
        for item in items[:MOST_LINES]:
            print(f"{what}: {item}")
    print(f"runs by state: {ended}")
    print(f"kills: {dict(soak.saboteur.kills)}")
    print(f"rows: {dict(found.counts)}; the server's database has {database_mib:.1f} MiB")
    result = {
        "name": "soak",
        "runs": sum(ended.values()),
        "corpora": args.corpora,
        "tracks": found.counts["tracks"],
        "kills": dict(soak.saboteur.kills),
        "states": ended,
        **{what: len(items) for what, items in lines.items()},
        "wall_s": round(time.monotonic() - begun),
    }
    print(json.dumps(result))
    return EXIT_WRONG if any(lines.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
