"""The parts of block diagrams. A node has a wire that enters at its top and one that leaves at its bottom, on its axis.

`left` and `right` are its reach on either side of the axis, `height` is from wire to wire; `draw(canvas, x, y)` puts the upper
end at (x, y). All in pixels.
"""
from diagrams.svg import FAINT, PAPER, width_of

COLOURS = {                                                        # kind of layer: (fill, its name in the legend)
    'conv': ('#cfe3ff', 'convolution'), 'depthwise': ('#bde8dc', 'depthwise convolution'),
    'pointwise': ('#e4eeff', '1x1 convolution, linear layer'), 'attention': ('#ffd8b0', 'attention'),
    'norm': ('#eceff2', 'norm, activation'), 'pool': ('#ecdcfb', 'pooling'), 'mix': ('#ffe1e8', 'moves channels or pixels'),
    'tokens': ('#fff3c4', 'tokens')}
GAP, FAN = 16, 16                                                  # between nodes; height of a fork or a merge
SIZE, SMALL = 13, 11                                               # of the fonts


def opens_with_box(node):
    """Whether the wire that enters a node ends at a box, so that it needs a head."""
    return isinstance(node, Box) or isinstance(node, Chain) and opens_with_box(node.nodes[0])


class Box:
    """A layer: its name and, in smaller letters, a note. `kind` is one of COLOURS."""

    def __init__(self, kind, name, note=''):
        self.kind, self.name, self.note = kind, name, note
        self.left = self.right = max(width_of(name, SIZE), width_of(note, SMALL)) / 2 + 11
        self.height = 42 if note else 28

    def kinds(self):
        return {self.kind}

    def draw(self, canvas, x, y):
        canvas.rectangle(x - self.left, y, 2 * self.left, self.height, COLOURS[self.kind][0])
        canvas.text(x, y + 18, self.name, SIZE)
        if self.note:
            canvas.text(x, y + 34, self.note, SMALL, FAINT)


class Wire:
    """Nothing happens; `words` beside the wire may say so."""

    def __init__(self, words=''):
        self.words, self.height = words, 24
        self.left, self.right = 8, 8 + width_of(words, SMALL)

    def kinds(self):
        return set()

    def draw(self, canvas, x, y):
        canvas.wire((x, y), (x, y + self.height))
        if self.words:
            canvas.text(x + 6, y + 16, self.words, SMALL, FAINT, 'start')


class Chain:
    """Nodes one below the other."""

    def __init__(self, *nodes):
        self.nodes = nodes
        self.left, self.right = max(node.left for node in nodes), max(node.right for node in nodes)
        self.height = sum(node.height for node in nodes) + GAP * (len(nodes) - 1)

    def kinds(self):
        return set().union(*(node.kinds() for node in self.nodes))

    def draw(self, canvas, x, y):
        for i, node in enumerate(self.nodes):
            if i:
                canvas.wire((x, y), (x, y + GAP), arrow=opens_with_box(node))
                y += GAP
            node.draw(canvas, x, y)
            y += node.height


class Join:
    """The point where wires meet: + or × in a circle, or a word in a pill."""

    def __init__(self, sign):
        self.sign = sign
        self.half = 10 if len(sign) == 1 else width_of(sign, SMALL) / 2 + 9
        self.height = 20

    def draw(self, canvas, x, y):
        canvas.rectangle(x - self.half, y, 2 * self.half, self.height, PAPER, radius=10)
        canvas.text(x, y + (15 if len(self.sign) == 1 else 14), self.sign, 15 if len(self.sign) == 1 else SMALL)


class Branches:
    """Parallel nodes with the same input, whose outputs are joined."""

    def __init__(self, *nodes, join='concatenate'):
        self.nodes, self.join = nodes, Join(join)
        self.axes, edge = [], 0.0
        for node in nodes:
            self.axes.append(edge + node.left)
            edge += node.left + node.right + GAP
        total = edge - GAP
        self.left = self.right = total / 2
        self.inner = max(node.height for node in nodes)
        self.height = FAN + self.inner + FAN + self.join.height

    def kinds(self):
        return set().union(*(node.kinds() for node in self.nodes))

    def draw(self, canvas, x, y):
        top, bottom = y + FAN, y + FAN + self.inner
        canvas.wire((x, y), (x, y + FAN / 2))
        for node, axis in zip(self.nodes, self.axes):
            axis += x - self.left
            canvas.wire((x, y + FAN / 2), (axis, y + FAN / 2), (axis, top), arrow=opens_with_box(node))
            node.draw(canvas, axis, top)
            canvas.wire((axis, top + node.height), (axis, bottom + FAN / 2), (x, bottom + FAN / 2))
        canvas.wire((x, bottom + FAN / 2), (x, bottom + FAN), arrow=True)
        self.join.draw(canvas, x, bottom + FAN)


class Skip:
    """A node and, on its right, a way around it: a plain wire or the node `by`."""

    def __init__(self, node, by=None, join='+'):
        self.node, self.by, self.join = node, by or Wire(), Join(join)
        self.inner = max(node.height, self.by.height)
        self.way = node.right + GAP + (self.by.left if by else 0)  # from the axis to the way around
        self.left, self.right = node.left, self.way + (self.by.right if by or self.by.words else 4)
        self.height = FAN + self.inner + FAN + self.join.height

    def kinds(self):
        return self.node.kinds() | self.by.kinds()

    def draw(self, canvas, x, y):
        way, top, bottom = x + self.way, y + FAN, y + FAN + self.inner + FAN
        canvas.wire((x, y), (x, top), arrow=opens_with_box(self.node))
        self.node.draw(canvas, x, top)
        canvas.wire((x, top + self.node.height), (x, bottom), arrow=True)
        canvas.wire((x, y + FAN / 2), (way, y + FAN / 2), (way, top), arrow=opens_with_box(self.by))
        self.by.draw(canvas, way, top)
        middle = bottom + self.join.height / 2
        canvas.wire((way, top + self.by.height), (way, middle), (x + self.join.half, middle), arrow=True)
        self.join.draw(canvas, x, bottom)
