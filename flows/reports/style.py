"""How pages of our own look."""

from __future__ import annotations

STYLE = """
:root { color-scheme: light dark; --line: #8886; --quiet: #777; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h3 { margin-top: 2rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { border-bottom: 1px solid var(--line); padding: .25rem .75rem .25rem 0; text-align: left; }
figure { margin: 1.5rem 0; } figcaption { margin-bottom: .5rem; }
figure.plot img { max-width: 100%; }
figure.sound audio, figure.sound img { display: block; width: 100%; max-width: 40rem; }
figure.sound img { height: 8rem; margin-top: .25rem; border-radius: 6px; }
footer { color: var(--quiet); margin-top: 3rem; }
""".strip()
"""Light or dark as the reader's system is, as the plots are (:mod:`flows.reports.ink`)."""
