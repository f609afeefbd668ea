"""The lineage of something, for the terminal."""

from __future__ import annotations

from rich.console import Console

from flows.provenance.lineage import Hearer, Lineage, Listing
from flows.reports.terminal_table import print_table
from storage.printable import shown


def print_lineage(found: Lineage, console: Console) -> None:
    """What it came from and what came of it, for the terminal."""
    forgotten = ", forgotten" if found.forgotten else ""
    console.print(shown(f"{found.kind} {found.id}{forgotten}"), highlight=False, markup=False)
    for told in found.retired:
        console.print(shown(f"retired: {told}"), highlight=False, markup=False)
    rows: list[tuple[str, int, str, str]] = []
    for name in ("files", "songs", "tracks", "segments", "remixes"):
        listing: Listing = getattr(found, name)
        if listing.count:
            more = ", …" if listing.count > len(listing.first) else ""
            named = ", ".join(listing.first) + more
            rows.append((name, listing.count, ", ".join(listing.partitions), named))
    if found.found_by:
        rows.append(("found by detectors", len(found.found_by), "", ", ".join(found.found_by)))
    if found.taught_by:
        rows.append(("labelled by models", len(found.taught_by), "", ", ".join(found.taught_by)))
    for kind in ("detectors", "models"):
        hearers: list[Hearer] = getattr(found, kind)
        if hearers:
            named = ", ".join(_told(hearer) for hearer in hearers)
            rows.append((f"heard by {kind}", len(hearers), "", named))
    print_table(console, ["what", "how many", "where", "which"], rows)


def _told(hearer: Hearer) -> str:
    notes = []
    if hearer.num_remixes:
        notes.append(f"{hearer.num_remixes} remixes")
    if hearer.num_forgotten:
        notes.append(f"{hearer.num_forgotten} forgotten since: retrain")
    return f"{hearer.id} ({', '.join(notes)})" if notes else hearer.id
