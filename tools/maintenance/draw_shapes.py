"""Draw a folder of pictures to try tools/fit.py with: five kinds of shapes, each over a piece of a photograph.

    python tools/maintenance/draw_shapes.py PHOTOGRAPHS OUTPUT [--count 120] [--seed 0]

Sides have 64 to 420 pixels. A shape is rotated, sheared, shaded and partly transparent, and has any colour and position.
Smaller scraps of other shapes are scattered around it. So neither colour, size nor position tells the class.
"""
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from image_classification.config import BOUNDS
from image_classification.config.options import IMAGES, Parser
from image_classification.errors import exit_with_message

_TIMES = 3                                                         # shapes are drawn larger by this, for smooth edges


def _regular(corners, inner=1.0, turn=0.0):
    """(N, 2) corners on a circle of radius 1, every second one at `inner`."""
    angles = np.linspace(0, 2 * np.pi, corners, endpoint=False) + turn
    radii = np.where(np.arange(corners) % 2, inner, 1.0)
    return np.stack([radii * np.cos(angles), radii * np.sin(angles)], 1)


def _turn(angle):
    """The matrix that turns a plane by an angle in radians."""
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def _cross(arm=0.36):
    """(12, 2) corners of a plus whose arms are 2 * `arm` wide."""
    quarter = np.array([(1.0, -arm), (1.0, arm), (arm, arm)])
    return np.concatenate([quarter @ _turn(angle).T for angle in np.pi / 2 * np.arange(4)])


SHAPES = {'cross': _cross(), 'disc': _regular(64), 'square': _regular(4), 'star': _regular(10, 0.45), 'triangle': _regular(3)}


def piece(photographs, width, height, rng):
    """A random part of a random photograph, resized to this width and height."""
    photograph = photographs[rng.integers(len(photographs))]
    scale = rng.uniform(0.4, 1.0) * min(photograph.width / width, photograph.height / height)
    w, h = int(width * scale), int(height * scale)
    left, top = rng.integers(photograph.width - w + 1), rng.integers(photograph.height - h + 1)
    return photograph.resize((width, height), Image.Resampling.BILINEAR, (left, top, left + w, top + h))


def lay(picture, corners, radius, clear, rng):
    """Draw a shape with this radius in pixels at a random place of the picture."""
    angle, (low, high) = rng.uniform(0, 2 * np.pi), np.sort(rng.uniform(0.65, 1.0, 2))
    shear = np.array([[1.0, rng.uniform(-0.25, 0.25)], [0.0, low / high]])
    margin = 0.8 * radius
    place = [rng.uniform(min(margin, side / 2), max(side - margin, side / 2)) for side in picture.size]
    points = (corners @ shear.T @ _turn(angle).T * radius + place) * _TIMES
    mask = Image.new('L', [side * _TIMES for side in picture.size])
    ImageDraw.Draw(mask).polygon([tuple(point) for point in points], fill=int(255 * (1 - clear)))
    mask = mask.resize(picture.size, Image.Resampling.LANCZOS)
    colour, ramp = rng.integers(0, 256, 3), rng.uniform(-70, 70)
    shade = np.linspace(-ramp, ramp, picture.width)[None, :, None] * np.ones((picture.height, 1, 1))
    grain = rng.normal(0, rng.uniform(0, 25), (picture.height, picture.width, 1))
    surface = Image.fromarray(np.clip(colour + shade + grain, 0, 255).astype(np.uint8))
    picture.paste(surface, mask=mask)


def draw(name, photographs, rng):
    """A picture whose largest shape is `name`."""
    width, height = (int(side) for side in rng.integers(64, 421) * np.sort(rng.uniform(0.7, 1.0, 2))[::rng.choice([-1, 1])])
    picture = piece(photographs, max(width, 64), max(height, 64), rng)
    side = min(picture.size)
    for _ in range(rng.integers(0, 3)):
        lay(picture, SHAPES[rng.choice(sorted(SHAPES))], side * rng.uniform(0.03, 0.06), 0.0, rng)
    lay(picture, SHAPES[name], side * rng.uniform(0.22, 0.42), rng.uniform(0.0, 0.3), rng)
    return picture.filter(ImageFilter.GaussianBlur(side / 200 * rng.uniform(0.0, 1.5)))


@exit_with_message
def main(argv=None):
    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument('photographs', type=Path, help='a folder of photographs, with its subfolders')
    parser.add_argument('output', type=Path, help='a new folder')
    parser.add_argument('--count', type=int, default=120, bounds=IMAGES, help='pictures of each shape; default: 120')
    parser.add_argument('--seed', type=int, default=0, bounds=BOUNDS['SEED'],
                        help='other seeds draw other pictures; default: 0')
    args = parser.parse_args(argv)
    files = sorted(path for path in args.photographs.rglob('*') if path.suffix.lower() in ('.jpg', '.jpeg', '.png'))
    photographs = [Image.open(path).convert('RGB') for path in files]
    rng = np.random.default_rng(args.seed)
    for name in SHAPES:
        (args.output / name).mkdir(parents=True)
        for i in range(args.count):
            draw(name, photographs, rng).save(args.output / name / f'{i:04}.jpg', quality=int(rng.integers(60, 96)))


if __name__ == '__main__':
    main()
