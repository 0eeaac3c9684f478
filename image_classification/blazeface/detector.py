"""Finds faces in the outputs of BlazeFace's front or back network, https://arxiv.org/abs/1907.05047.

The steps are those of hollance/BlazeFace-PyTorch, whose weights load here: anchors, decoding, threshold, blending. Overlapping
boxes are not suppressed but averaged, weighted by their scores, which reduces jitter in videos. The score of a blended face is
the mean of their scores, as in that code; MediaPipe itself keeps the best score.

A face is a row of 17 numbers, `COLUMNS`. "Right" and "left" are the person's own: the right eye is on the picture's left.
"""
import os

import numpy as np
import paddle
from PIL import Image

from image_classification.blazeface.model import BOXES, COORDINATES, BlazeFace, build_model
from image_classification.config import get_config
from image_classification.errors import UserError
from image_classification.weights.catalogue import DEFAULT
from image_classification.weights.pretrained import load_pretrained

KEY_POINTS = ('right_eye', 'left_eye', 'nose', 'mouth', 'right_ear', 'left_ear')
COLUMNS = ('ymin', 'xmin', 'ymax', 'xmax', *(f'{name}_{axis}' for name in KEY_POINTS for axis in 'xy'), 'score')
GRIDS = (16, 8)                                                    # pixels on a side of the finer and of the coarser map
MIN_SCORE_FRONT, MIN_SCORE_BACK = 0.75, 0.65
MIN_OVERLAP = 0.3                                                  # boxes with a larger intersection over union are one face
LARGEST_LOGIT = 100.0                                              # larger logits are clipped


def anchors():
    """(896, 4): centre (x, y) and size of every anchor, as shares of the image's side. Both networks have the same anchors.

    As in single-shot detectors, but all of one size. Each pixel of the maps, row by row, has one anchor per box at its centre.
    """
    parts = []
    for grid, boxes in zip(GRIDS, BOXES):
        centres = (np.arange(grid) + 0.5) / grid
        y, x = np.meshgrid(centres, centres, indexing='ij')
        parts.append(np.repeat(np.stack([x.ravel(), y.ravel(), np.ones(x.size), np.ones(x.size)], axis=1), boxes, axis=0))
    return np.concatenate(parts)


def decode(regressors, classifiers, side):
    """Network outputs (B, 896, 16) in pixels and (B, 896, 1) in logits -> (B, 896, 17), in shares of the side, and scores."""
    places = anchors()
    points = regressors.reshape(len(regressors), -1, COORDINATES // 2, 2) / side * places[:, None, 2:]   # x, y
    centres, sizes = points[:, :, 0] + places[:, :2], points[:, :, 1]
    key_points = points[:, :, 2:] + places[:, None, :2]
    corners = [(centres + sign * sizes / 2)[:, :, ::-1] for sign in (-1, 1)]                             # y, x
    scores = 1.0 / (1.0 + np.exp(-np.clip(classifiers, -LARGEST_LOGIT, LARGEST_LOGIT)))
    return np.concatenate([*corners, key_points.reshape(*key_points.shape[:2], -1), scores], axis=2)


def overlaps(boxes):
    """Intersection over union of all pairs of boxes (N, 4), ymin, xmin, ymax, xmax: (N, N), 0 for boxes without an area."""
    low = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    common = np.clip(high - low, 0.0, None).prod(axis=2)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    union = areas[:, None] + areas - common
    return np.divide(common, union, out=np.zeros_like(common), where=union > 0.0)


def blend(candidates, min_overlap=MIN_OVERLAP):
    """Blend boxes (N, 17), several of which may be the same face -> (faces, 17), sorted by the score of each one's best box.

    The best box is averaged with all boxes that overlap it by more than `min_overlap`. This repeats with the remaining boxes.
    """
    candidates = candidates[np.argsort(-candidates[:, -1], kind='stable')]
    same = overlaps(candidates[:, :4]) > min_overlap
    np.fill_diagonal(same, True)                                   # also for a box without an area
    free, faces = np.ones(len(candidates), bool), []
    for i in range(len(candidates)):
        if free[i]:
            members = candidates[same[i] & free]
            free &= ~same[i]
            face = np.average(members, axis=0, weights=members[:, -1])
            face[-1] = members[:, -1].mean()
            faces.append(face)
    return np.stack(faces) if faces else np.zeros((0, len(COLUMNS)))


def letterbox(image, side):
    """Scale an image to fit and centre it between black bars: uint8 RGB (H, W, 3) -> (side, side, 3). Also returns the
    placement, with which `to_pixels` reverses this."""
    height, width = image.shape[:2]
    scale = side / max(height, width)
    inner = [max(1, round(length * scale)) for length in (width, height)]
    left, top = ((side - length) // 2 for length in inner)
    square = np.zeros((side, side, 3), np.uint8)
    square[top:top + inner[1], left:left + inner[0]] = Image.fromarray(image).resize(inner, Image.Resampling.BILINEAR)
    ratio = np.array([width, height]) / inner
    return square, (side * ratio, np.array([left, top]) * ratio)


def to_pixels(faces, placement):
    """Convert faces from shares of a letterbox to pixels of the picture; 0, 0 is its upper left corner. Scores stay."""
    factor, shift = placement                                      # x, y
    pixels = faces.copy()
    pixels[:, :4] = faces[:, :4] * np.tile(factor[::-1], 2) - np.tile(shift[::-1], 2)
    pixels[:, 4:-1] = faces[:, 4:-1] * np.tile(factor, len(KEY_POINTS)) - np.tile(shift, len(KEY_POINTS))
    return pixels


class BlazeFaceDetector:
    """Finds faces: `detect(image)` in a picture of any size, `detect_batch(images)` in squares of the network's size.

    Args:
        model: `create_model('blazeface_front')` for faces near the camera, or 'blazeface_back' for smaller ones, with weights.
            It is put into evaluation mode.
        min_score: lowest score of a face, 0 to 1; by default the network's own, 0.75 (front) or 0.65 (back).
        min_overlap: two boxes with a larger intersection over union are the same face, 0 to 1.
    Raises:
        UserError: the model is another network, or a threshold is not from 0 to 1.
    """

    def __init__(self, model, min_score=None, min_overlap=MIN_OVERLAP):
        if not isinstance(model, BlazeFace):
            raise UserError(f'{type(model).__name__} does not detect faces; wanted the network blazeface_front or '
                            'blazeface_back')
        channels = model.parts()[0][0].weight.shape[1]
        if channels != 3:
            raise UserError(f'the network takes images of {channels} channels; the detector wants one of 3 (in_chans=3)')
        if min_score is None:
            min_score = MIN_SCORE_BACK if model.back else MIN_SCORE_FRONT
        self.min_score = min_score
        self.min_overlap = min_overlap
        for name in ('min_score', 'min_overlap'):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise UserError(f'{name} is {getattr(self, name)}; wanted a number from 0 to 1')
        self.model = model
        self.model.eval()
        self.side = GRIDS[0] * model.feature_strides[0]            # of the network's input, in pixels

    @classmethod
    def from_weights(cls, name, weights, **options):
        """A detector from the name of a network and weights as for `create_model`: True, a tag, an address or a file."""
        cfg = get_config(name)
        if cfg.MODEL.TYPE.lower() != 'blazeface':
            raise UserError(f'{name} does not detect faces; wanted the network blazeface_front or blazeface_back')
        model = build_model(cfg)
        model.config = cfg
        load_pretrained(model, DEFAULT if weights is True else os.fspath(weights))
        return cls(model, **options)

    def detect(self, image):
        """Find faces in one picture: uint8 RGB (H, W, 3) -> (faces, 17) float64, in pixels of the picture, best first.

        The picture is scaled to fit the network's square. Boxes can reach beyond the picture's border.
        Raises:
            UserError: `image` is not such an array.
        """
        image = np.asarray(image)
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
            raise UserError(f'an array {image.shape} of {image.dtype} is no picture; wanted uint8 RGB (H, W, 3)')
        square, placement = letterbox(image, self.side)
        return to_pixels(self.detect_batch(square[None])[0], placement)

    def detect_batch(self, images):
        """Find faces in squares: uint8 RGB (B, side, side, 3) -> B arrays (faces, 17) float64, in shares 0..1 of the side."""
        images = np.asarray(images)
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != (self.side, self.side, 3):
            raise UserError(f'an array {images.shape} of {images.dtype} is no batch for this network; wanted uint8 RGB '
                            f'(B, {self.side}, {self.side}, 3). `detect` takes a picture of any size.')
        if not len(images):
            return []
        x = paddle.to_tensor(images.transpose(0, 3, 1, 2)).astype(self.model.classifier_8.weight.dtype) / 127.5 - 1.0
        with paddle.no_grad():
            regressors, classifiers = (output.astype('float64').numpy() for output in self.model(x))
        if not (np.isfinite(regressors).all() and np.isfinite(classifiers).all()):
            raise UserError('the detector gives NaN or infinite numbers: its weights are spoilt. Take others')
        candidates = decode(regressors, classifiers, self.side)
        return [blend(rows[rows[:, -1] >= self.min_score], self.min_overlap) for rows in candidates]
