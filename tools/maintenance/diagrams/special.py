"""Two blocks whose layout is not a tree: MobileFormer's two paths, and EfficientViT's cascade of heads."""
from diagrams.nodes import FAN, GAP, SMALL, Box, Chain, Join
from diagrams.svg import FAINT


class TwoPaths:
    """MobileFormer's block: the map goes down on the left, the tokens on the right, and bridges cross twice.

    `activation` names what the tokens' first one makes in the Mobile path.
    """

    def __init__(self, activation):
        self.mobile = [Box('pointwise', '1x1 conv, up', 'BN'), Box('norm', activation), Box('depthwise', '3x3 depthwise', 'BN'),
                       Box('norm', activation), Box('pointwise', '1x1 conv, down', 'BN')]
        self.bridge = Box('attention', 'Mobile to Former', 'tokens ask the map')
        self.former = [Box('attention', 'self-attention', 'of the few tokens'),
                       Box('pointwise', 'feed-forward', 'of each token')]
        self.back = Box('attention', 'Former to Mobile', 'the map asks the tokens')
        self.between = 110                                         # pixels between the two columns
        self.left = max(node.left for node in [*self.mobile, self.back])
        self.way = self.left + self.between + self.bridge.left     # from one axis to the other
        self.right = self.way + self.bridge.left
        self.start = 74                                            # where the Mobile path begins: the tokens are ahead
        mobile = sum(node.height + GAP for node in self.mobile)
        self.height = self.start + mobile + GAP + self.back.height

    def kinds(self):
        return {'pointwise', 'norm', 'depthwise', 'attention'}

    def draw(self, canvas, x, y):
        tokens, end = x + self.way, y + self.height
        canvas.text(x + 8, y - 6, 'map', SMALL, FAINT, 'start')
        canvas.text(tokens + 8, y - 6, 'tokens', SMALL, FAINT, 'start')
        canvas.wire((tokens, y - 18), (tokens, y), arrow=True)
        self.bridge.draw(canvas, tokens, y)
        canvas.wire((x, y), (x, y + self.start), arrow=True)
        canvas.wire((x, y + 21), (tokens - self.bridge.left, y + 21), arrow=True)
        below = y + self.bridge.height
        for node in self.former:
            canvas.wire((tokens, below), (tokens, below + GAP), arrow=True)
            node.draw(canvas, tokens, below + GAP)
            below += GAP + node.height
        canvas.wire((tokens, below), (tokens, end + 18), arrow=True)
        side, top = x + self.left + self.between / 2, y + self.start
        for node in self.mobile:
            node.draw(canvas, x, top)
            canvas.wire((x, top + node.height), (x, top + node.height + GAP), arrow=node is not self.mobile[-1])
            if node.kind == 'norm':                                # its slopes come from the first token
                middle = top + node.height / 2
                canvas.wire((tokens, below + 8), (side, below + 8), (side, middle), (x + node.right, middle), arrow=True,
                            dashed=True)
            top += node.height + GAP
        canvas.text(side + 6, below + 2, 'token 0', SMALL, FAINT, 'start')
        canvas.wire((x, top), (x, top + GAP), arrow=True)
        self.back.draw(canvas, x, top + GAP)
        canvas.wire((tokens, top + GAP + 21), (x + self.back.right, top + GAP + 21), arrow=True)


class Cascade:
    """EfficientViT's heads: each takes its share of the channels plus the output of the head before."""

    def __init__(self, heads=3):
        head = ('1x1 conv: Q, K, V', 'depthwise on Q', 'softmax(Q K + bias) V')
        kinds = ('pointwise', 'depthwise', 'attention')
        self.heads = [Chain(Sum(i > 0), *(Box(kind, words) for kind, words in zip(kinds, head))) for i in range(heads)]
        self.project = Box('pointwise', '1x1 conv', 'behind ReLU')
        self.joined = Join('concatenate')
        self.step = self.heads[0].left + self.heads[0].right + 34
        self.drop = 46                                             # each head is drawn this much lower than the one before
        self.left = self.right = self.step * (heads - 1) / 2 + self.heads[0].left
        self.inner = self.heads[0].height + self.drop * (heads - 1)
        self.height = 44 + self.inner + 2 * FAN + self.joined.height + GAP + self.project.height

    def kinds(self):
        return {'pointwise', 'depthwise', 'attention', 'mix'}

    def draw(self, canvas, x, y):
        split = Box('mix', 'split the channels, one share for each head')
        split.draw(canvas, x, y)
        bottom, before = y + 44 + self.inner, None
        for i, head in enumerate(self.heads):
            axis = x + (i - (len(self.heads) - 1) / 2) * self.step
            top = y + 44 + i * self.drop
            start = min(max(axis, x - split.left + 10), x + split.right - 10)
            canvas.wire((start, y + 28), (start, y + 36), (axis, y + 36), (axis, top), arrow=i > 0)
            head.draw(canvas, axis, top)
            end = top + head.height
            if before:                                             # from the head before into the sum
                from_x, from_y = before
                middle = axis - self.step / 2
                canvas.wire((from_x, from_y + 8), (middle, from_y + 8), (middle, top + 10), (axis - 10, top + 10), arrow=True)
            canvas.wire((axis, end), (axis, bottom + FAN / 2), (x, bottom + FAN / 2))
            before = axis, end
        canvas.wire((x, bottom + FAN / 2), (x, bottom + 2 * FAN), arrow=True)
        self.joined.draw(canvas, x, bottom + 2 * FAN)
        last = bottom + 2 * FAN + self.joined.height
        canvas.wire((x, last), (x, last + GAP), arrow=True)
        self.project.draw(canvas, x, last + GAP)


class Sum(Join):
    """A + as a separate node; not drawn if there is nothing to add."""

    left = right = 10

    def __init__(self, drawn):
        super().__init__('+')
        self.drawn = drawn

    def kinds(self):
        return set()

    def draw(self, canvas, x, y):
        if self.drawn:
            super().draw(canvas, x, y)
        else:
            canvas.wire((x, y), (x, y + self.height))
