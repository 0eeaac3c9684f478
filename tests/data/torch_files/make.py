"""Made the files beside it, with PyTorch 2.14, which the tests do not need: python make.py"""
import argparse
import collections
from pathlib import Path

import torch
from torch import nn

FOLDER = Path(__file__).parent


def checkpoint():
    """What a training program saves, and a tensor of each kind."""
    torch.manual_seed(0)
    net = nn.Sequential(collections.OrderedDict(fc=nn.Linear(3, 2), bn=nn.BatchNorm1d(2)))
    with torch.no_grad():
        net.fc.weight.copy_(torch.arange(6.0).reshape(2, 3))
        net.fc.bias.copy_(torch.tensor([0.5, -0.5]))
    optimizer = torch.optim.Adam(net.parameters(), lr=0.1)
    net(torch.ones(4, 3)).sum().backward()
    optimizer.step()
    shared = torch.arange(12.0)
    tagged, noted = nn.Parameter(torch.tensor([1.0, 2.0])), torch.tensor([3.0, 4.0])
    tagged.no_decay, noted.note = True, 'x'
    return {
        'model': net.state_dict(), 'optimizer': optimizer.state_dict(),
        'args': argparse.Namespace(model='tiny', lr=0.1, out=Path('output')),
        'parameter': nn.Parameter(torch.tensor([1.0, 2.0])), 'tagged': tagged, 'noted': noted,
        'bfloat16': torch.tensor([1.0, -2.5, 3e38, 1e-40]).bfloat16(), 'half': torch.tensor([1.5], dtype=torch.float16),
        'double': torch.tensor(2.5, dtype=torch.float64), 'bool': torch.tensor([True, False]),
        'uint8': torch.tensor([255], dtype=torch.uint8), 'int64': torch.tensor(-7),
        'uint16': torch.tensor([65535], dtype=torch.uint16),
        'transposed': shared.reshape(3, 4).T, 'middle': shared[4:8], 'every_third': shared[::3], 'empty': torch.zeros(0, 3),
        'size': torch.Size([1, 2]), 'device': torch.device('cpu'), 'dtype': torch.float32,
        'counter': collections.Counter([30, 60, 60]), 'default': collections.defaultdict(int, a=1), 'epoch': 3, 'best': 0.75,
        'names': ['a', 'b'], 'none': None, 'flag': True, 'set': {1, 2}}


if __name__ == '__main__':
    content = checkpoint()
    torch.save(content, FOLDER / 'zip.pth')
    torch.save(content, FOLDER / 'legacy.pth', _use_new_zipfile_serialization=False)
    torch.save(nn.Linear(1, 1), FOLDER / 'whole_model.pth')
    torch.jit.script(nn.Linear(1, 1)).save(str(FOLDER / 'script.pt'))
