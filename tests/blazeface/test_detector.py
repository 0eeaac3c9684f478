import numpy as np
import paddle
import pytest

import image_classification as ic
from image_classification.blazeface import BlazeFaceDetector
from image_classification.blazeface.detector import COLUMNS, anchors, blend, decode, letterbox, overlaps, to_pixels
from image_classification.weights import write_safetensors
from tests.blazeface.conftest import picture, published_state, with_published_weights
from tests.golden import DATA

REAL = sorted(path.stem for path in DATA.glob('blazeface_*_real_*.npz'))


@pytest.mark.parametrize('name', sorted(path.stem for path in DATA.glob('blazeface_*_weights.npz')))
def test_the_anchors_are_the_published_ones(name):
    np.testing.assert_array_equal(anchors(), published_state(name.removesuffix('_weights'))['anchors'])


@pytest.mark.parametrize('recording', REAL)
@pytest.mark.parametrize('dtype, tolerance', [('float32', 1e-4), ('float64', 1e-6)])
def test_finds_the_recorded_faces_in_real_pictures(recording, dtype, tolerance):
    name, real = recording.split('_real_')[0], np.load(DATA / f'{recording}.npz')
    detector = with_published_weights(name, dtype)
    doubled = detector.side // 128                                 # the back network's pictures have each pixel twice
    image = real['image'].repeat(doubled, 0).repeat(doubled, 1)
    x = paddle.to_tensor(image.transpose(2, 0, 1)[None]).astype(dtype) / 127.5 - 1.0
    finer, coarser = (m.numpy()[0] for m in detector.model.forward_intermediates(x))
    regressors, classifiers = (output.numpy()[0] for output in detector.model(x))
    finer = finer if finer.shape == real['feature_16'].shape else finer.reshape(-1)[::4]
    for found, key in ((finer, 'feature_16'), (coarser, 'feature'), (regressors, 'regressors'), (classifiers, 'classifiers')):
        assert abs(found.ravel() - real[key].ravel()).max() <= tolerance * real[key].std(), key
    [faces] = detector.detect_batch(image[None])
    assert faces.shape == real['detections'].shape
    np.testing.assert_allclose(faces, real['detections'], rtol=0, atol=tolerance)


def test_a_picture_without_faces_gives_no_rows(detector):
    assert detector.detect(np.zeros((50, 70, 3), np.uint8)).shape == (0, 17)
    assert detector.detect_batch(np.zeros((0, 128, 128, 3), np.uint8)) == []


def test_each_image_of_a_batch_has_its_own_faces(detector):
    images = np.stack([picture('3faces'), np.zeros((128, 128, 3), np.uint8), picture('1face')])
    together = detector.detect_batch(images)
    assert [len(faces) for faces in together] == [3, 0, 1]
    for image, faces in zip(images, together):
        np.testing.assert_allclose(faces, detector.detect_batch(image[None])[0], atol=1e-5)


def test_a_cropped_picture_has_the_same_faces_where_they_are_in_it(detector):
    image = picture('3faces')                                      # black above row 30 and from row 99 on
    top = int(image.any(axis=(1, 2)).argmax())
    bottom = 128 - top
    image[bottom:] = 0
    whole, cropped = detector.detect(image), detector.detect(image[top:bottom])
    assert len(whole) == 3 and 0 < top < bottom < 128
    shift = np.array([top if name.endswith(('_y', 'ymin', 'ymax')) else 0 for name in COLUMNS])
    np.testing.assert_allclose(cropped, whole - shift, atol=1e-4)


def test_a_large_picture_has_its_faces_in_its_own_pixels(detector):
    small, large = (detector.detect(picture('1face').repeat(times, 0).repeat(times, 1)) for times in (1, 3))
    assert large.shape == (1, 17)
    np.testing.assert_allclose(large[:, :-1] / 3, small[:, :-1], atol=1.0)


@pytest.mark.parametrize('height, width', [(300, 200), (200, 301), (128, 128), (3, 500), (7, 5)])
def test_a_letterbox_keeps_the_aspect_and_is_undone_exactly(height, width):
    square, placement = letterbox(np.full((height, width, 3), 255, np.uint8), 128)
    rows, columns = (np.flatnonzero(square.any(axis=(2, axis))) for axis in (1, 0))
    assert max(len(rows), len(columns)) == 128
    assert abs(len(rows) / len(columns) - height / width) <= max(1, height / width) / min(len(rows), len(columns))
    face = np.zeros((1, 17))
    face[0, :4] = np.array([rows[0], columns[0], rows[-1] + 1, columns[-1] + 1]) / 128
    face[0, 4:6] = columns[0] / 128, (rows[-1] + 1) / 128          # a key point in the lower left corner
    face[0, -1] = 0.9
    pixels = to_pixels(face, placement)[0]
    np.testing.assert_allclose(pixels[[0, 1, 2, 3, 4, 5, 16]], [0, 0, height, width, 0, height, 0.9], atol=1e-9)


def candidates(count, seed):
    """(count, 17): boxes that crowd, some without an area, their scores all different."""
    rng = np.random.default_rng(seed)
    found = rng.random((count, 17))
    found[:, 2:4] = found[:, :2] + rng.uniform(-0.05, 0.6, (count, 2))
    return found


def plain_overlap(a, b):
    height, width = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    common = max(0.0, height) * max(0.0, width)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - common
    return common / union if union > 0 else 0.0


def plain_blend(boxes, min_overlap):
    left, faces = sorted(boxes.tolist(), key=lambda box: -box[16]), []
    while left:
        best = left[0]
        group = [best] + [box for box in left[1:] if plain_overlap(best, box) > min_overlap]
        left = [box for box in left if box not in group]
        total = sum(box[16] for box in group)
        faces.append([sum(box[k] * box[16] for box in group) / total for k in range(16)] + [total / len(group)])
    return faces


@pytest.mark.parametrize('seed', range(20))
def test_blending_agrees_with_a_plain_one(seed):
    boxes = candidates(3 * seed, seed)
    for min_overlap in (0.0, 0.3, 0.9):
        found = blend(boxes, min_overlap)
        np.testing.assert_allclose(found, np.reshape(plain_blend(boxes, min_overlap), (-1, 17)), atol=1e-12)


def test_two_boxes_that_overlap_become_one_weighted_by_their_scores():
    boxes = np.zeros((3, 17))
    boxes[:, :4] = [[0.0, 0.0, 0.4, 0.4], [0.6, 0.6, 0.9, 0.9], [0.1, 0.0, 0.5, 0.4]]
    boxes[:, 16] = 0.6, 0.7, 0.9
    assert overlaps(boxes[:, :4])[0] == pytest.approx([1.0, 0.0, 0.6])
    faces = blend(boxes)
    np.testing.assert_allclose(faces[0, [0, 1, 2, 3, 16]], [0.06, 0.0, 0.46, 0.4, 0.75])
    np.testing.assert_allclose(faces[1], boxes[1])


@pytest.mark.parametrize('side', [128, 256])
def test_decoding_measures_in_pixels_from_the_anchor(side):
    raw, logits = np.zeros((1, 896, 16)), np.full((1, 896, 1), 1e9)
    raw[0, 0, :8] = side / 4, side / 2, side / 8, side / 2, side, 0, 0, -side      # centre, size, right eye, left eye
    logits[0, 1] = -1e9
    first, second = decode(raw, logits, side)[0, :2]
    x = y = 0.5 / 16
    np.testing.assert_allclose(first[:8], [y + 0.25, x + 0.1875, y + 0.75, x + 0.3125, x + 1, y, x, y - 1])
    assert (first[16], second[16]) == (1.0, pytest.approx(0.0, abs=1e-40))
    np.testing.assert_allclose(second[:16].reshape(8, 2), 0.5 / 16)


def test_each_network_has_its_own_threshold_and_size():
    front, back = (BlazeFaceDetector(ic.create_model(f'blazeface_{kind}')) for kind in ('front', 'back'))
    assert (front.min_score, front.side, back.min_score, back.side) == (0.75, 128, 0.65, 256)
    assert not front.model.training


def test_a_lower_threshold_finds_more(detector):
    image = picture('1face')[None]
    boxes = [len(BlazeFaceDetector(detector.model, score, 1.0).detect_batch(image)[0]) for score in (1.0, 0.75, 0.1, 0.0)]
    assert boxes == sorted(boxes) and (boxes[0], boxes[-1]) == (0, 896)


def test_is_made_from_a_name_and_a_weights_file(detector, tmp_path):
    path, image = tmp_path / 'weights.safetensors', picture('1face')
    write_safetensors(path, {key: tensor.numpy() for key, tensor in detector.model.state_dict().items()}, {})
    again = BlazeFaceDetector.from_weights('blazeface_front', path)
    np.testing.assert_array_equal(again.detect(image), detector.detect(image))
    assert BlazeFaceDetector.from_weights('blazeface_front', path, min_score=1.0).detect(image).shape == (0, 17)


def test_a_fused_network_detects_alike(detector):
    image = picture('3faces')
    fused = BlazeFaceDetector(ic.fuse(ic.create_model(detector.model.config)))
    for name, tensor in detector.model.state_dict().items():
        fused.model.state_dict()[name].set_value(tensor)
    np.testing.assert_allclose(fused.detect(image), detector.detect(image), atol=1e-4)


@pytest.mark.parametrize('model, words', [
    (lambda: ic.create_model('blazeface'), 'BlazeFaceExtractor does not detect faces'),
    (lambda: ic.create_model('blazeface_front', features_only=True), 'FeatureExtractor does not detect faces'),
    (lambda: ic.create_model('blazeface_front', in_chans=1), 'takes images of 1 channels')])
def test_a_network_that_cannot_detect_is_refused(model, words):
    with pytest.raises(ic.UserError, match=words):
        BlazeFaceDetector(model())


@pytest.mark.parametrize('options', [{'min_score': 1.5}, {'min_score': float('nan')}, {'min_overlap': -0.1}])
def test_a_threshold_that_is_none_is_refused(detector, options):
    with pytest.raises(ic.UserError, match=f'{list(options)[0]} is .*; wanted a number from 0 to 1'):
        BlazeFaceDetector(detector.model, **options)


@pytest.mark.parametrize('shape, dtype', [
    ((8, 8), 'uint8'), ((8, 8, 4), 'uint8'), ((0, 8, 3), 'uint8'), ((8, 8, 3), 'float32')])
def test_something_else_than_a_picture_is_refused(detector, shape, dtype):
    with pytest.raises(ic.UserError, match='is no picture; wanted uint8 RGB'):
        detector.detect(np.zeros(shape, dtype))


def test_a_batch_of_another_size_is_refused(detector):
    with pytest.raises(ic.UserError, match=r'wanted uint8 RGB \(B, 128, 128, 3\)'):
        detector.detect_batch(np.zeros((2, 256, 256, 3), np.uint8))
