"""Paddle Inference on the CPU."""
import contextlib
import os
import threading

import numpy as np

from image_classification.deploy.engines.interface import Engine
from image_classification.deploy.export_directory import ExportDirectory
from image_classification.errors import UserError

# Paddle 3.3's own list, without the passes that give operators other than convolutions to oneDNN.
_ONLY_CONVOLUTIONS = [
    'depthwise_conv_onednn_pass', 'conv2d_bn_onednn_fuse_pass', 'conv2d_bias_bn_onednn_fuse_pass', 'conv2d_bias_fuse_pass',
    'conv_elementwise_add_onednn_fuse_pass', 'conv_activation_onednn_fuse_pass', 'matmul_add_act_fuse_pass',
    'common_subexpression_elimination_pass', 'constant_folding_pass', 'dead_code_elimination_pass',
    'replace_fetch_with_shadow_output_pass']


class PaddleInference(Engine):
    """A Paddle Inference predictor. Each thread has its own clone; the clones share the weights."""

    name, module, extra = 'paddle_inference', 'paddle', 'cpu'

    def __init__(self, directory, threads=None, bf16=False, onednn=None):
        super().__init__(directory, **directory.input())
        onednn = recorded(directory) if onednn is None else onednn
        self._first = create_predictor(directory.path, onednn, threads, bf16)
        self._keeps_maps = onednn == 'convolutions'
        self._lock, self._clones = threading.Lock(), threading.local()
        self._clones.own = self._first
        self.outputs = self._first.get_output_names()

    def _run(self, images):
        if hasattr(self._clones, 'own'):
            return run(self._clones.own, images)
        with self._lock:
            self._clones.own = self._first.clone()
            with maps_kept() if self._keeps_maps else contextlib.nullcontext():
                return run(self._clones.own, images)


def create_predictor(directory, onednn=None, threads=None, bf16=False):
    """The Paddle Inference predictor of an export directory; its only input is `image`.

    With 'convolutions' it keeps the maps of all layers between its runs, see `maps_kept`.

    Args:
        onednn: True: oneDNN computes every operator that it supports. False: none. 'convolutions': convolutions only, which is
            faster for networks with many other small operators, such as Mobile-Former. By default as inference.yaml says.
        threads: number of CPU threads; by default the number of cores.
        bf16: let oneDNN compute in bfloat16.
    Raises:
        UserError: the directory has no files for Paddle Inference.
    """
    from paddle import inference                                   # here, because ONNX files run without Paddle
    directory = ExportDirectory(directory)
    files = directory.files(PaddleInference.name)
    if files is None:
        raise UserError(f'{directory} has no complete export for Paddle Inference; export the model again')
    onednn = recorded(directory) if onednn is None else onednn
    if onednn == 'convolutions' and not bf16:
        predictor = _with_passes(_config(files, onednn, threads))
        if predictor is not None:
            return _after_first_run(predictor, directory)
    config = _config(files, onednn, threads)
    if onednn and bf16:
        config.enable_mkldnn_bfloat16()
    return inference.create_predictor(config)


def _with_passes(config):
    """A predictor whose convolutions alone are given to oneDNN, or None if this version of Paddle has other passes."""
    from paddle import inference
    try:
        config.enable_custom_passes(_ONLY_CONVOLUTIONS, True)
        return inference.create_predictor(config)
    except (AttributeError, TypeError, ValueError, RuntimeError):
        return None


def recorded(directory):
    """The `onednn` that the export was verified with; True if that is not known."""
    return directory.read_if_there().get('engines', {}).get('paddle_inference', {}).get('onednn', True)


@contextlib.contextmanager
def maps_kept():
    """Predictors whose first run is in this block keep the maps of all layers for their next run.

    Otherwise, a second thread frees each map as soon as no layer needs it. With hundreds of small layers, both threads wait
    for each other: on one core, MobileFormer-26M takes 17 ms for a picture instead of 9 ms. With kept maps, eight pictures
    take 240 MB of memory instead of 80 MB.
    """
    import paddle
    flag = 'FLAGS_eager_delete_tensor_gb'
    before = paddle.get_flags(flag)
    paddle.set_flags({flag: -1.0})
    try:
        yield
    finally:
        paddle.set_flags(before)


def _after_first_run(predictor, directory):
    """Run the predictor once on an empty picture, so that it keeps its maps. Returns it; as it is, if inference.yaml does not
    say the picture's size."""
    given, taken = directory.read_if_there().get('input', {}), directory.input()
    if 'image_size' in given and 'channels' in given:
        side, channels = given['image_size'], given['channels']
        shape = [side, side, channels] if taken['layout'] == 'NHWC' else [channels, side, side]
        with maps_kept():
            run(predictor, np.zeros([taken.get('batch', 1), *shape], taken['dtype']))
    return predictor


def _config(files, onednn, threads):
    from paddle import inference
    config = inference.Config(*map(str, files))
    config.disable_gpu()
    config.disable_glog_info()
    config.set_cpu_math_library_num_threads(threads or os.cpu_count() or 1)
    if onednn:
        config.enable_mkldnn()
    else:
        config.disable_mkldnn()
    return config


def run(predictor, images):
    """Run a predictor on images (B, C, H, W) float32. Returns all outputs in the network's order; a classifier has only one,
    (B, num_classes)."""
    predictor.get_input_handle('image').copy_from_cpu(np.ascontiguousarray(images))
    predictor.run()
    return [predictor.get_output_handle(name).copy_to_cpu() for name in predictor.get_output_names()]
