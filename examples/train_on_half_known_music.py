"""Train a separator on half-known music, with `demucs_core` and torch alone.

Two sources: a tone that comes and goes, and bursts of noise. Labelled examples know both. Of the
others only one is known: where the tone rests, what is heard is noise alone, and a known tone is
added to it. The loss (`demucs_core.training.weak_loss`) takes both kinds, and trains on either.

    python examples/train_on_half_known_music.py
"""

from __future__ import annotations

import torch
from torch import Tensor

from demucs_core.separators.registry import build_model
from demucs_core.training.weak_loss import grouped_l1

SOURCES = ("tone", "noise")
SAMPLE_RATE = 8_000
CROP_SAMPLES = 4_096
STEPS = 300


def tone(generator: torch.Generator) -> Tensor:
    """A tone ``(C, T)`` of some pitch and level."""
    time_s = torch.arange(CROP_SAMPLES) / SAMPLE_RATE
    hertz = 200 + 600 * torch.rand((), generator=generator)
    return 0.3 * torch.sin(2 * torch.pi * hertz * time_s)[None]


def noise(generator: torch.Generator) -> Tensor:
    """Bursts of noise ``(C, T)``."""
    bursts = (torch.arange(CROP_SAMPLES) % 1_024) < 200
    return 0.3 * torch.randn(1, CROP_SAMPLES, generator=generator) * bursts


def labelled(generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Targets ``(G, C, T)``, membership ``(G, S)`` and mask ``(G, T)``: each source is a group."""
    targets = torch.stack([tone(generator), noise(generator)])
    return targets, torch.eye(2), torch.ones(2, CROP_SAMPLES, dtype=torch.bool)


def half_known(generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Music without a tone for its first half, to which a tone is added.

    There the sums are known: {tone} is what was added, {noise} the music itself. In the second half
    a tone of the music's own sounds, the sums are not known, and the mask is off.
    """
    music = noise(generator)
    music[:, CROP_SAMPLES // 2 :] += tone(generator)[:, CROP_SAMPLES // 2 :]
    mask = torch.zeros(2, CROP_SAMPLES, dtype=torch.bool)
    mask[:, : CROP_SAMPLES // 2] = True
    return torch.stack([tone(generator), music]), torch.eye(2), mask


def main() -> float:
    """Train, and print how far a mixture's estimates are from the truth; returns that."""
    generator = torch.Generator().manual_seed(0)
    model = build_model(
        {
            "architecture": "demucs", "sources": list(SOURCES), "num_channels": 1,
            "sample_rate": SAMPLE_RATE, "channels": 8, "depth": 3,
        },
        seed=0,
    )  # fmt: skip
    optimiser = torch.optim.Adam(model.parameters(), lr=2e-3)
    for step in range(STEPS):
        examples = [labelled(generator), half_known(generator), half_known(generator)]
        targets, membership, mask = (torch.stack(part) for part in zip(*examples, strict=True))
        loss = grouped_l1(model(targets.sum(dim=1)), targets, membership, mask)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if step % 100 == 0:
            print(f"step {step}: loss {loss.item():.4f}")
    truth, *_ = labelled(generator)
    with torch.no_grad():
        error = (model.eval()(truth.sum(dim=0)[None])[0] - truth).abs().mean()
    silence = truth.abs().mean()
    print(f"mean error {error:.4f}; that of silence would be {silence:.4f}")
    return float(error / silence)


if __name__ == "__main__":
    main()
