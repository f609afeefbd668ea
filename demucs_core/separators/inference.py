"""Estimates without gradients: the numbers of the forward pass, in less time and memory.

Shape legend: B batch, S sources, C audio channels, T samples, H hidden channels, F steps of a
layer.

On a CPU, what a large :class:`~demucs_core.separators.demucs.Demucs` waits for is memory, not
arithmetic: an LSTM reads all its weights again for each step, and the outer layers write more than
a cache holds.
So the LSTM and the other layers with more weights than activations run for the whole batch at
once, and the outer layers item by item, in stretches of time that stay in the cache. The outermost
encoder's output, larger than all the others together and the cheapest, is computed a second time
instead of kept.
"""

from __future__ import annotations

from itertools import pairwise
from math import gcd

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from demucs_core.separators.demucs import BiLSTM, Demucs

STRETCH_VALUES = 2**20
"""Activations (4 MiB) of an outer layer that are computed at once; each costs a few barriers."""

LARGE_LSTM = 1024
"""Hidden size from which an LSTM's weights no longer fit a cache."""

BLOCK_ROWS = 32
"""Rows of a large LSTM's weights that are multiplied with the whole batch while in the cache."""


def estimate(model: nn.Module, mixture: Tensor) -> Tensor:
    """Estimate the sources of mixtures ``(B, C, T)``: ``(B, S, C, T)``.

    For use where gradients are off. Equal to ``model(mixture)`` within float32 rounding, and the
    very same but for a Demucs on a CPU.
    """
    if isinstance(model, Demucs) and mixture.device.type == "cpu":
        return _estimate_demucs(model, mixture)
    estimates: Tensor = model(mixture)
    return estimates


def _estimate_demucs(model: Demucs, mixture: Tensor) -> Tensor:
    batch, channels, num_samples = mixture.shape
    surplus = model.valid_length(num_samples) - num_samples
    start = surplus // 2
    padded = F.pad(mixture, (start, surplus - start))
    num_outer = _num_outer_layers(model, padded.shape[-1])
    num_inner = model.config.depth - num_outer
    outer: list[Tensor] = []
    outer_skips: list[list[Tensor]] = []
    for x in padded.split(1):
        skips: list[Tensor] = []
        for encode in model.encoder[:num_outer]:
            x = _encode(encode, x)
            skips.append(x)
        outer.append(x)
        outer_skips.append(skips[1:])
    x = torch.cat(outer)
    del outer, skips
    inner_skips: list[Tensor] = []
    for encode in model.encoder[num_outer:]:
        x = _encode(encode, x)
        inner_skips.append(x)
    if model.lstm is not None:
        x = _bilstm(model.lstm, x)
    for decode in model.decoder[:num_inner]:
        x = _decode(decode, x, inner_skips.pop())
    estimates = mixture.new_empty(batch, len(model.config.sources) * channels, num_samples)
    for index, item in enumerate(x.split(1)):
        skips = outer_skips[index]
        for decode in model.decoder[num_inner:]:
            skip = skips.pop() if skips else _encode(model.encoder[0], padded[index : index + 1])
            item = _decode(decode, item, skip)
            del skip
        estimates[index] = item[0, :, start : start + num_samples]
    return estimates.view(batch, len(model.config.sources), channels, num_samples)


def _num_outer_layers(model: Demucs, num_samples: int) -> int:
    """Number of layers with more activations than weights."""
    config, num_steps = model.config, num_samples
    width = config.num_channels
    for index in range(config.depth):
        num_steps = (num_steps - config.kernel_size) // config.stride + 1
        if width * config.kernel_size > 2 * num_steps:
            return index
        width = int(config.growth * width) if index else config.channels
    return config.depth


def _stretches(num_steps: int, width: int, num_taps: int) -> list[tuple[int, int]]:
    """Cut steps into stretches, long enough that packing the weights for each costs little."""
    length = max(STRETCH_VALUES // width, 8 * num_taps)
    return list(pairwise([*range(0, num_steps, length), num_steps]))


def _gated(x: Tensor, out: Tensor) -> None:
    """GLU; spoils its argument."""
    value, gate = x.chunk(2, dim=1)
    torch.mul(value, gate.sigmoid_(), out=out)


def _encode(block: nn.Module, x: Tensor) -> Tensor:
    """An encoder block: ``(B, H, F)`` to ``(B, H', F')``."""
    assert isinstance(block, nn.Sequential)
    strided, pointwise = block[0], block[2]
    assert isinstance(strided, nn.Conv1d)
    kernel, stride = strided.kernel_size[0], strided.stride[0]
    num_steps = (x.shape[-1] - kernel) // stride + 1
    out = x.new_empty(x.shape[0], strided.out_channels, num_steps)
    num_taps = strided.in_channels * kernel
    for first, last in _stretches(num_steps, strided.out_channels, num_taps):
        hidden = strided(x[..., first * stride : (last - 1) * stride + kernel]).relu_()
        _gated(pointwise(hidden), out[..., first:last])
    return out


def _decode(block: nn.Module, x: Tensor, skip: Tensor) -> Tensor:
    """A decoder block, of ``x + skip``: ``(B, H, F)`` to ``(B, H', F')``; spoils ``x``."""
    assert isinstance(block, nn.Sequential)
    convolution, transposed = block[0], block[2]
    assert isinstance(convolution, nn.Conv1d)
    assert isinstance(transposed, nn.ConvTranspose1d)
    assert transposed.bias is not None
    kernel, stride = transposed.kernel_size[0], transposed.stride[0]
    context, num_steps = convolution.kernel_size[0] // 2, x.shape[-1]
    x.add_(skip)
    out = x.new_zeros(x.shape[0], transposed.out_channels, (num_steps - 1) * stride + kernel)
    out += transposed.bias[:, None]
    width = convolution.in_channels
    for first, last in _stretches(num_steps, width, width * convolution.kernel_size[0]):
        before, after = max(first - context, 0), min(last + context, num_steps)
        hidden = convolution(x[..., before:after])[..., first - before : last - before]
        gated = x.new_empty(x.shape[0], transposed.in_channels, last - first)
        _gated(hidden, gated)
        out[..., first * stride : (last - 1) * stride + kernel] += F.conv_transpose1d(
            gated, transposed.weight, stride=stride
        )
    return out if len(block) == 3 else out.relu_()


def _bilstm(bilstm: BiLSTM, x: Tensor) -> Tensor:
    """A :class:`BiLSTM`, ``(B, H, F)`` to ``(B, H, F)``; a large one without packed weights."""
    lstm = bilstm.lstm
    if lstm.hidden_size < LARGE_LSTM:
        result: Tensor = bilstm(x)
        return result
    hidden = x.permute(2, 0, 1)
    for layer in range(lstm.num_layers):
        hidden = torch.cat(
            [_direction(lstm, f"_l{layer}{suffix}", hidden) for suffix in ("", "_reverse")], dim=-1
        )
    projected: Tensor = bilstm.linear(hidden)
    return projected.permute(1, 2, 0).contiguous()


def _direction(lstm: nn.LSTM, suffix: str, x: Tensor) -> Tensor:
    """One direction of an LSTM's layer over ``(F, B, H)``, as torch.nn.LSTM documents it."""
    weight = getattr(lstm, f"weight_hh{suffix}")
    bias = getattr(lstm, f"bias_ih{suffix}") + getattr(lstm, f"bias_hh{suffix}")
    gates = F.linear(x, getattr(lstm, f"weight_ih{suffix}"), bias)
    num_steps, batch, _ = x.shape
    # Of a product with few columns, BLAS makes one that reads the weights several times over; of
    # many products with few rows each, one that reads them once.
    num_rows, width = weight.shape
    blocks = weight.view(-1, gcd(num_rows, BLOCK_ROWS), width).transpose(1, 2)
    hidden, cell = x.new_zeros(2, batch, width)
    out = x.new_empty(num_steps, batch, width)
    steps = range(num_steps)
    for step in reversed(steps) if suffix.endswith("_reverse") else steps:
        recurrent = torch.bmm(hidden.expand(len(blocks), batch, width), blocks)
        gates[step] += recurrent.transpose(0, 1).reshape(batch, num_rows)
        keep_in, forget, candidate, keep_out = gates[step].chunk(4, dim=-1)
        cell = forget.sigmoid_() * cell + keep_in.sigmoid_() * candidate.tanh_()
        hidden = torch.mul(keep_out.sigmoid_(), cell.tanh(), out=out[step])
    return out
