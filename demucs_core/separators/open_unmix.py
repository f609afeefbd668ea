"""Open-Unmix (Stöter, Uhlich, Liutkus, Mitsufuji 2019): the authors' code behind our contract.

Shape legend: B batch, S sources, C audio channels, T samples.

The package is ``openunmix``, the extra of the same name. There, each target is a network that is
trained by itself on spectrograms; here all of them are one separator, trained on waveforms, with
the mixture's phase. Their Wiener filter is off in training and on in separation, as there.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from demucs_core.configuration import check_above, check_at_least, check_even
from demucs_core.separators.extras import import_extra
from demucs_core.separators.separator import (
    SeparatorConfig,
    WrappedSeparator,
    check_mono_or_stereo,
)

NAME, EXTRA = "open_unmix", "openunmix"


@dataclass(frozen=True, kw_only=True)
class OpenUnmixConfig(SeparatorConfig):
    """What an :class:`OpenUnmixSeparator` is made of; the defaults are those of UMX-HQ.

    Attributes:
        hidden_size: width of each target's network, even.
        nb_layers: layers of its LSTM.
        unidirectional: its LSTM hears the past alone.
        bandwidth_hz: what the networks hear of the spectrum; they estimate all of it.
        n_fft: window of the spectrogram in samples, even.
        n_hop: its hop in samples, at most half of the window.
        niter: iterations of the Wiener filter in separation; 0 leaves it out, and so does a single
            source.
        wiener_win_len: frames that it looks at at once.
        softmask: it begins with a soft mask instead of the mixture's phase.

    Raises:
        ValueError: a field out of range, more than two channels, or a source that can't name one of
            the package's networks; by name.
    """

    hidden_size: int = 512
    nb_layers: int = 3
    unidirectional: bool = False
    bandwidth_hz: float = 16_000.0
    n_fft: int = 4096
    n_hop: int = 1024
    niter: int = 1
    wiener_win_len: int = 300
    softmask: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 1, "hidden_size", "nb_layers", "n_hop", "wiener_win_len")
        check_at_least(self, 2, "n_fft")
        check_at_least(self, 0, "niter")
        check_above(self, 0, "bandwidth_hz")
        check_even(self, "hidden_size", "n_fft")
        if 2 * self.n_hop > self.n_fft:
            raise ValueError(f"n_hop must be at most {self.n_fft // 2}, not {self.n_hop}")
        check_mono_or_stereo(self, NAME)
        for source in self.sources:
            if "." in source or hasattr(nn.ModuleDict, source):
                raise ValueError(f"sources: {NAME} can't have a source called {source!r}")


class OpenUnmixSeparator(WrappedSeparator):
    """Estimate every source of a mixture from its spectrogram: ``(B, C, T)`` to ``(B, S, C, T)``.

    The networks' input is not scaled by statistics of the training set, as the authors' script
    scales it: the parameters that hold those begin with 0 and 1, and are trained.
    """

    config: OpenUnmixConfig

    def __init__(self, config: OpenUnmixConfig) -> None:
        super().__init__()
        self.config = config
        model = import_extra("openunmix.model", NAME, EXTRA)
        num_bins = config.n_fft // 2 + 1
        heard = int(2 * config.bandwidth_hz / config.sample_rate * (num_bins - 1)) + 1
        self.net = model.Separator(
            {
                source: model.OpenUnmix(
                    nb_bins=num_bins,
                    nb_channels=config.num_channels,
                    hidden_size=config.hidden_size,
                    nb_layers=config.nb_layers,
                    unidirectional=config.unidirectional,
                    max_bin=min(heard, num_bins),
                )
                for source in config.sources
            },
            softmask=config.softmask,
            sample_rate=float(config.sample_rate),
            n_fft=config.n_fft,
            n_hop=config.n_hop,
            nb_channels=config.num_channels,
            wiener_win_len=config.wiener_win_len,
        )

    def alone(self, sources: Collection[str]) -> OpenUnmixSeparator | None:
        """Return a separator of some sources' networks; None where all have a part in each.

        They have in the Wiener filter and in a soft mask.
        """
        config = self.config
        kept = tuple(source for source in config.sources if source in sources)
        if config.softmask or (config.niter and len(config.sources) > 1) or not kept:
            return None
        with torch.device("meta"):  # no weights of its own
            smaller = OpenUnmixSeparator(replace(config, sources=kept))
        for name, module in self.net.named_children():
            setattr(smaller.net, name, module)
        networks = self.net.target_models
        smaller.net.target_models = nn.ModuleDict({name: networks[name] for name in kept})
        smaller.net.sample_rate = self.net.sample_rate
        return smaller.train(self.training)

    def forward(self, mixture: Tensor) -> Tensor:
        """Map mixtures ``(B, C, T)``, any T of at least 1, to estimates ``(B, S, C, T)``."""
        config, num_samples = self.config, mixture.shape[-1]
        filtered = not self.training and len(config.sources) > 1
        self.net.niter = config.niter if filtered else 0
        # the spectrogram reflects half a window at each end, for which there must be audio
        missing = max(0, config.n_fft - num_samples)
        estimates: Tensor = self.net(F.pad(mixture, (0, missing)))
        return estimates[..., :num_samples]
