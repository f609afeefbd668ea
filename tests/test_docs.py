"""The pages that are written from the code say what the code says; the README's commands exist."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from flows.catalogue import CHAIN, STAGES
from flows.cli.commands import NAMES
from storage.tables.schemas import TABLES

ROOT = Path(__file__).parent.parent
PAGES = runpy.run_path(str(ROOT / "docs" / "generate.py"))["PAGES"]


@pytest.mark.parametrize("name", sorted(PAGES))
def test_the_reference_is_up_to_date(name: str) -> None:
    assert (ROOT / "docs" / name).read_text(encoding="utf-8") == PAGES[name](), "run `make docs`"


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    site = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir"]
    told = subprocess.run([*site, str(tmp_path)], cwd=ROOT, capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
    page = (tmp_path / "api" / "demucs_core.metrics.html").read_text(encoding="utf-8")
    assert 'href="#demucs_core.metrics.bsseval.song_sdr"><code>song_sdr</code>' in page
    assert ":func:" not in page


def test_the_readme_names_commands_that_exist() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    commands = set(re.findall(r"^silentmix +([a-z-]+)", readme, flags=re.MULTILINE))
    assert {"run", "status"} <= commands
    assert commands <= set(NAMES)


def test_links_between_pages_lead_somewhere() -> None:
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_examples_of_clusters_can_be_read() -> None:
    page = (ROOT / "docs" / "clusters.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```(\w+)\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL)
    kinds = [yaml.safe_load(text).get("kind", "") for kind, text in blocks if kind == "yaml"]
    assert kinds == ["", "DaskCluster", "DaskWorkerGroup"]
    [script] = [text for kind, text in blocks if kind == "python"]
    compile(script, "clusters.md", "exec")
    for shell in (text for kind, text in blocks if kind == "sh"):
        subprocess.run(["/bin/bash", "-n", "-c", shell], check=True)
        [options] = re.findall(r"silentmix score (.*)", shell)
        assert set(re.findall(r"--([a-z-]+)", options)) <= {"workspace", "corpus", "dask-address"}


def test_the_picture_shows_every_stage_and_what_it_writes() -> None:
    picture = (ROOT / "docs" / "images" / "flow.svg").read_text(encoding="utf-8")
    flows = set(re.findall(r'class="flow"[^>]*>([^<]+)<', picture))
    assert flows == set(STAGES)
    labels = re.findall(r'class="table[^>]*>([^<]+)<', picture)
    tables = set(re.findall(r"[a-z]+", " ".join(labels)))
    assert tables <= set(TABLES)
    assert tables >= {table for entry in CHAIN for table in entry.listed}


def test_the_glossary_is_in_order() -> None:
    text = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    words = re.findall(r"^(\w[\w ]*)\n:", text, flags=re.MULTILINE)
    assert words == sorted(words)
    wanted = "Activity Corpus Fingerprint Part Partition Policy Promise Recipe"
    assert set(wanted.split()) <= set(words)
