"""Efficient dilation optimization (EDO), section 3.2 of https://arxiv.org/abs/2012.13587: from a trained supernet to a pattern.

The supernet has a (2D + 1) x (2D + 1) convolution in place of each 3x3, which covers all dilations up to D in H and in W. Of an
output channel's kernels W, the dilation (h, w) keeps the nine taps on rows -h, 0, h and columns -w, 0, w. For each channel, the
search takes the dilation whose expected output is nearest to that of the whole kernels, in L1. Inputs behind a batch norm have
similar statistics everywhere. So this amounts to the L1 distance between all weights and those kept,

    E(h, w) = sum |W| - sum of |W| over the nine taps,

for which no image is needed. Channels with the same dilation are then grouped; each dilation is a branch.

The authors published patterns, not the search. Issue 9 of yifan123/IC-Conv confirms that its last step compares weights.
Choices made here:

- *Every |w| counts equally*, whatever its sign and input channel, although the channels' scales behind the batch norm differ.
- *A tie* goes to the smaller dilation in H, then in W.
- *Order.* Branches are sorted by dilation, as in the published files. Within a branch, channels keep their order.
- *Inheritance.* The authors train the found network from scratch. `inherit_weights` offers the supernet's weights as a start.
"""
import re
from typing import NamedTuple

import numpy as np

from image_classification.errors import UserError

_CONVOLUTION = re.compile(r'(layer(\d+)\.(\d+)\.conv2)\.weight')   # groups: name, stage, block


class FoundConv(NamedTuple):
    """What the search chose for one convolution of the supernet."""
    name: str                                                      # e.g. layer1.0.conv2
    branches: list                                                 # [(dilation in H, dilation in W, output channels), ...]
    order: np.ndarray                                              # (C,): output channels of the supernet, branch by branch
    kept: float                                                    # share of sum |W| that the dilations keep
    undilated: float                                               # the share that dilation (1, 1) would keep everywhere


def kept_magnitudes(weight, max_dilation=0):
    """Sum of |w| over the nine taps of each dilation: (C_out, C_in, 2D + 1, 2D + 1) -> (C_out, max_dilation, max_dilation).

    Entry (c, h - 1, w - 1) belongs to output channel c and dilation (h, w), in float64. `max_dilation` 0 means D.
    Raises:
        UserError: the weights have another shape or are not finite, or the kernels do not reach `max_dilation`.
    """
    weight = np.asarray(weight)
    if weight.ndim != 4 or weight.shape[2] != weight.shape[3] or weight.shape[2] % 2 == 0 or min(weight.shape) < 1:
        raise UserError(f'the weights have the shape {weight.shape}; wanted (C_out, C_in, 2D + 1, 2D + 1), those of a supernet')
    reach = weight.shape[2] // 2
    wanted = max_dilation or reach
    if not 1 <= wanted <= reach:
        raise UserError(f'a search up to dilation {wanted} is asked for; wanted 1 to {reach}, which kernels of '
                        f'{weight.shape[2]} x {weight.shape[2]} cover')
    taps = np.abs(weight).sum(1, dtype=np.float64)                 # (C_out, 2D + 1, 2D + 1)
    if not np.isfinite(taps).all():
        raise UserError('some weights are not finite; wanted those of a supernet whose training went well')
    dilations = range(1, wanted + 1)
    rows = [[_taps(taps, h, w).sum((1, 2)) for w in dilations] for h in dilations]
    return np.stack([np.stack(row, -1) for row in rows], 1)


def dilation_pattern(weight, max_dilation=0):
    """The best dilation of each output channel, from the weights (C_out, C_in, 2D + 1, 2D + 1) of a supernet layer.

    Args:
        weight: array or tensor.
        max_dilation: the largest dilation to choose, by default D.
    Returns:
        branches [(dilation in H, dilation in W, output channels), ...], and the order of the output channels (C_out,): channel
        i of the found layer is channel order[i] of the supernet's.
    Raises:
        UserError: see `kept_magnitudes`.
    """
    return _branches(kept_magnitudes(weight, max_dilation))


def search_dilations(state, max_dilation=0):
    """One FoundConv per large convolution of a supernet, in network order, from its state dict {name: array}.

    Raises:
        UserError: there is no such convolution, or as `kept_magnitudes`, with the name of the convolution.
    """
    matches = sorted((match for name in state if (match := _CONVOLUTION.fullmatch(name))),
                     key=lambda match: (int(match[2]), int(match[3])))
    if not matches:
        raise UserError('the weights have no layer1.0.conv2.weight, so they are no supernet\'s; wanted those of an IC-ResNet '
                        'trained with -opts MODEL.IC.SUPERNET_DILATION 4')
    found = []
    for match in matches:
        weight = np.asarray(state[match[0]])
        try:
            kept = kept_magnitudes(weight, max_dilation)
        except UserError as error:
            raise UserError(f'{match[0]}: {error}') from None
        total = np.abs(weight).sum(dtype=np.float64) or 1.0        # weights that are all zero: 0 of 1
        found.append(FoundConv(match[1], *_branches(kept), kept.max((1, 2)).sum() / total, kept[:, 0, 0].sum() / total))
    return found


def inherit_weights(state, found):
    """Convert the supernet's state dict to one for the found network: the kept taps, channels in the order of the branches.

    The batch norm behind a convolution and the inputs of the next one follow the new order. Everything else stays. If the
    supernet's weights are zero except for the kept taps, both networks compute the same.
    Raises:
        UserError: an entry of a bottleneck is missing.
    """
    state = dict(state)
    try:
        for conv in found:
            block = conv.name.rpartition('.')[0]
            weight, end = np.asarray(state.pop(f'{conv.name}.weight')), 0
            for i, (h, w, channels) in enumerate(conv.branches):
                start, end = end, end + channels
                state[f'{conv.name}.conv_list.{i}.weight'] = _taps(weight[conv.order[start:end]], h, w)
            for entry in ('weight', 'bias', '_mean', '_variance'):
                state[f'{block}.bn2.{entry}'] = np.asarray(state[f'{block}.bn2.{entry}'])[conv.order]
            state[f'{block}.conv3.weight'] = np.asarray(state[f'{block}.conv3.weight'])[:, conv.order]
    except KeyError as error:
        raise UserError(f'the supernet\'s weights lack {error}; wanted a whole IC-ResNet') from None
    return state


def _taps(weight, h, w):
    """The nine taps of dilation (h, w): (..., 2D + 1, 2D + 1) -> (..., 3, 3)."""
    centre = weight.shape[-1] // 2
    return weight[..., centre - h:centre + h + 1:h, centre - w:centre + w + 1:w]


def _branches(kept):
    """Magnitudes kept (C, D, D) -> (branches, order) for the largest of each channel. Among equal ones, the first counts."""
    side = kept.shape[-1]
    best = kept.reshape(len(kept), -1).argmax(1)                   # (C,), (h - 1) * D + w - 1
    counts = np.bincount(best, minlength=side * side)
    branches = [(i // side + 1, i % side + 1, int(count)) for i, count in enumerate(counts) if count]
    return branches, best.argsort(kind='stable')
