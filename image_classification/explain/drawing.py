"""Heat as colours over a picture, with Pillow alone."""
import numpy as np
from PIL import Image

# From nothing to the most: dark blue, blue, cyan, green, yellow, orange, red.
HEAT = np.array([(20, 20, 100), (40, 110, 230), (40, 205, 215), (110, 225, 100), (250, 220, 60), (245, 120, 30), (165, 15, 10)])
# From -1 over 0 to 1.
SIGNED = np.array([(20, 60, 160), (245, 245, 245), (175, 20, 30)])


def coloured(values, colours=HEAT):
    """(H, W) of 0 to 1 -> (H, W, 3) uint8; other values count as the nearest of these, NaN as 0."""
    values = np.clip(np.nan_to_num(np.asarray(values, np.float64)), 0, 1) * (len(colours) - 1)
    steps = np.arange(len(colours))
    return np.stack([np.rint(np.interp(values, steps, colours[:, i])) for i in range(3)], axis=-1).astype(np.uint8)


def overlay(picture, heat, strength=0.5):
    """A picture with heat in colours over it, RGB, of the picture's size.

    Args:
        picture: PIL image of what the network saw, of any size and mode.
        heat: (H, W), 0 to 1.
        strength: 0 shows the picture alone, 1 the heat alone.
    """
    picture = picture.convert('RGB')
    heat = Image.fromarray(np.asarray(heat, np.float32)).resize(picture.size, Image.Resampling.BILINEAR)
    return Image.blend(picture, Image.fromarray(coloured(heat)), strength)
