from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from collections import Counter
import json, os, time

import pytest

from flows.extract.flow import extract
from flows.extract.options import ExtractParameters
from flows.ingest.flow import ingest
from flows.ingest.options import IngestParameters
from flows.remix.flow import remix
from flows.remix.options import RemixParameters
from flows.score.flow import score
from flows.score.options import ScoreParameters
from storage.tables.manifests import Manifests
from storage.workspace import Workspace
from tests.flows.conftest import Finished
from tests.storage.s3_server import s3_store

P = int(os.environ.get("P", 20))

def test_measure(finished: Finished):
    with s3_store() as store:
        url = f"{store.url}/w"
        local = finished.workspace
        src = Manifests(local)
        fs = Workspace.check(url, create=True).fs
        fs.put(local.root + "/", url + "/", recursive=True)
        ws = Workspace(url)
        corpus = finished.parameters.corpus
        m = Manifests(ws)
        tracks = finished.only("tracks", corpus)
        rows = list(src.rows(tracks))
        for n in range(P):
            m.write(tracks, [f"more {n}"], [{**rows[n % 5], "track_id": f"{n:016x}"}])
        det = {"workspace": url, "workers": 1, "corpus": corpus}
        opt = {n: getattr(finished.parameters.extract, n) for n in type(finished.parameters.extract).model_fields}
        def run(name, what):
            store.requests.clear()
            t = time.time()
            r = what()
            print(f"{name:14} {store.count():5}", {k: store.count(k) for k in ("GET","HEAD","LIST","PUT")}, f"{time.time()-t:.1f}s", getattr(r, "plan", None))
            if os.environ.get("SHOW") == name:
                c = Counter()
                import re
                for k, v in store.requests.items():
                    k = re.sub(r"(part-)[0-9a-f]+", r"\1X", k)
                    k = re.sub(r"fingerprint(=|%3D)[0-9a-f]+", "fp", k)
                    c[k] += v
                for k, v in c.most_common(60): print(v, k)
        sc = ScoreParameters(**det, detector=finished.results[2].fingerprint if False else [r for r in finished.results if r.stage=="fit-detector"][0].fingerprint, batch_tracks=1)
        run("score", lambda: score(sc))
        run("score again", lambda: score(sc))
        ex = ExtractParameters(**det, detector=sc.detector, **opt)
        run("extract", lambda: extract(ex))
        run("extract again", lambda: extract(ex))
        rx = RemixParameters(**det, labelled=finished.parameters.labelled_corpus)
        run("remix", lambda: remix(rx))
        run("remix again", lambda: remix(rx))
        from flows.inputs.inventory import __doc__ as d
        from flows.cli.overview import __doc__

