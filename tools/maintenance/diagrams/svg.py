"""A drawing of boxes, wires and words as SVG text, in pixels; y grows downwards. The same calls give the same text."""
from xml.sax.saxutils import escape

INK, FAINT, PAPER, LINE = '#1f2328', '#59636e', '#ffffff', '#57606a'
FONT = 'Helvetica, Arial, sans-serif'
LETTER = 0.56                                                      # width of an average letter / size of the font


def width_of(words, size):
    """An estimate: SVG cannot measure, and fonts differ."""
    return LETTER * size * len(words)


def number(value):
    return f'{value:.1f}'.rstrip('0').rstrip('.')


class Canvas:
    """Collects shapes; `finish` gives the whole picture on white paper."""

    def __init__(self):
        self.parts = []

    def rectangle(self, x, y, width, height, fill=PAPER, line=LINE, radius=5):
        self.parts.append(f'<rect x="{number(x)}" y="{number(y)}" width="{number(width)}" height="{number(height)}" '
                          f'rx="{radius}" fill="{fill}" stroke="{line}"/>')

    def circle(self, x, y, radius, fill=PAPER, line=LINE):
        self.parts.append(f'<circle cx="{number(x)}" cy="{number(y)}" r="{number(radius)}" fill="{fill}" stroke="{line}"/>')

    def text(self, x, y, words, size=13, colour=INK, anchor='middle', bold=False, line=''):
        """Words whose baseline is at y; `line` is the colour around the letters."""
        weight = ' font-weight="bold"' if bold else ''
        around = f' stroke="{line}" stroke-width="4"' if line else ''
        self.parts.append(f'<text x="{number(x)}" y="{number(y)}" font-size="{size}" fill="{colour}" '
                          f'text-anchor="{anchor}"{weight}{around}>{escape(words)}</text>')

    def wire(self, *points, arrow=False, colour=LINE, width=1.4, dashed=False):
        """A line through the points (x, y), with a head at its end."""
        path = ' '.join(f'{number(x)},{number(y)}' for x, y in points)
        head = ' marker-end="url(#head)"' if arrow else ''
        dash = ' stroke-dasharray="4 3"' if dashed else ''
        self.parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width}"{dash}{head}/>')

    def finish(self, width, height, title):
        """The text of the file. `title` is for screen readers."""
        lines = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{number(width)}" height="{number(height)}" '
                 f'viewBox="0 0 {number(width)} {number(height)}" font-family="{FONT}" role="img">',
                 f'<title>{escape(title)}</title>',
                 '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
                 f'<path d="M0,0.5 L8,4 L0,7.5 z" fill="{LINE}"/></marker></defs>',
                 f'<rect width="{number(width)}" height="{number(height)}" rx="8" fill="{PAPER}"/>',
                 *self.parts, '</svg>']
        return '\n'.join(lines) + '\n'
