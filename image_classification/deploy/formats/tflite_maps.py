"""Computes the ONNX operators on maps in TensorFlow: convolutions, pools, norms, borders and resizing."""
import numpy as np
import tensorflow as tf

from image_classification.deploy.formats.tflite_values import Value, Values, to_last

_NEVER_NEGATIVE = {'Relu', 'Sigmoid', 'HardSigmoid', 'Abs', 'Exp', 'Softmax', 'Sqrt'}
_HAND_ON = {'MaxPool', 'AveragePool', 'GlobalAveragePool', 'Concat', 'Reshape', 'Transpose', 'Identity', 'Split', 'Slice'}
# (ONNX's mode, how it places pixels): (TensorFlow's operator, its options)
_RESIZED = {('nearest', 'asymmetric'): (tf.raw_ops.ResizeNearestNeighbor, {}),
            ('linear', 'half_pixel'): (tf.raw_ops.ResizeBilinear, {'half_pixel_centers': True}),
            ('linear', 'asymmetric'): (tf.raw_ops.ResizeBilinear, {}),
            ('linear', 'align_corners'): (tf.raw_ops.ResizeBilinear, {'align_corners': True})}


class Maps(Values):
    """Methods for operators, each (node, its attributes) -> Value."""

    def _Conv(self, node, given):
        x, weight = self.last(node.input[0]), self.constants[node.input[1]]
        groups, channels = given.get('group', 1), int(x.shape[-1])
        strides, steps = given.get('strides', [1, 1]), given.get('dilations', [1, 1])
        reach = [step * (side - 1) + 1 for step, side in zip(steps, weight.shape[2:])]
        x, padding = self._padded(x, given, reach, strides, 0.0)
        if groups == channels > 1 and strides[0] == strides[1]:
            weight = weight.reshape([channels, -1, *weight.shape[2:]]).transpose(2, 3, 0, 1)
            y = tf.raw_ops.DepthwiseConv2dNative(input=x, filter=weight, strides=[1, *strides, 1], padding=padding,
                                                 dilations=[1, *steps, 1])
        else:
            y = tf.nn.conv2d(x, weight.transpose(2, 3, 1, 0), strides, padding, dilations=steps)
        return Value(y + self.constants[node.input[2]] if len(node.input) > 2 else y, True)

    def _borders(self, x, given, reach, strides):
        """[(padding before, padding after)] for height and width, including what `ceil_mode` adds."""
        pads, found = given.get('pads', [0] * 4), []
        for axis in (0, 1):
            side, before, behind = int(x.shape[1 + axis]), pads[axis], pads[axis + 2]
            if given.get('auto_pad', b'NOTSET') not in (b'NOTSET', b'VALID'):
                total = max((-(-side // strides[axis]) - 1) * strides[axis] + reach[axis] - side, 0)
                before, behind = total // 2, total - total // 2
                if given['auto_pad'] == b'SAME_LOWER':
                    before, behind = behind, before
            if given.get('ceil_mode'):
                steps = -(-(side + before + behind - reach[axis]) // strides[axis])
                if steps * strides[axis] >= side + before:         # a window must start in the map or in the padding before it
                    steps -= 1
                behind = max(steps * strides[axis] + reach[axis] - side - before, behind)
            found.append((before, behind))
        return found

    def _padded(self, x, given, reach, strides, value):
        """(map, TensorFlow's padding mode). The map is padded here unless TensorFlow's own mode gives the same padding."""
        borders, same = self._borders(x, given, reach, strides), []
        for axis in (0, 1):
            side = int(x.shape[1 + axis])
            total = max((-(-side // strides[axis]) - 1) * strides[axis] + reach[axis] - side, 0)
            same.append((total // 2, total - total // 2))
        if not any(map(any, borders)):
            return x, 'VALID'
        if borders == same:
            return x, 'SAME'
        return tf.pad(x, [(0, 0), *borders, (0, 0)], constant_values=value), 'VALID'

    def _MaxPool(self, node, given):
        x, strides = self.last(node.input[0]), given.get('strides', [1, 1])
        value = 0.0 if self._never_negative(node.input[0]) else float(np.finfo(np.float32).min)
        x, padding = self._padded(x, given, given['kernel_shape'], strides, value)
        return Value(tf.nn.max_pool2d(x, given['kernel_shape'], strides, padding), True)

    def _never_negative(self, name):
        node = self.makers.get(name)
        if node is None:
            return False
        if node.op_type == 'Clip':
            least = self.constants.get(node.input[1]) if len(node.input) > 1 else None
            return least is not None and float(least) >= 0.0
        if node.op_type in ('Add', 'Mul', *_HAND_ON):
            return all(map(self._never_negative, node.input if node.op_type in ('Add', 'Mul', 'Concat') else node.input[:1]))
        return node.op_type in _NEVER_NEGATIVE

    def _AveragePool(self, node, given):
        x, strides, kernel = self.last(node.input[0]), given.get('strides', [1, 1]), given['kernel_shape']
        borders = self._borders(x, given, kernel, strides)
        if not any(map(any, borders)):
            return Value(tf.nn.avg_pool2d(x, kernel, strides, 'VALID'), True)
        pads = given.get('pads', [0] * 4)
        inside = np.zeros([int(side) + sum(border) for side, border in zip(x.shape[1:3], borders)])
        counted = pads if given.get('count_include_pad') else [0] * 4
        inside[borders[0][0] - counted[0]:borders[0][0] + int(x.shape[1]) + counted[2],
               borders[1][0] - counted[1]:borders[1][0] + int(x.shape[2]) + counted[3]] = 1
        windows = np.lib.stride_tricks.sliding_window_view(inside, kernel)[::strides[0], ::strides[1]]
        share = windows.mean((2, 3), dtype=np.float64)             # the share of each window that counts
        x, padding = self._padded(x, given, kernel, strides, 0.0)
        if padding == 'SAME' and not given.get('count_include_pad'):
            return Value(tf.nn.avg_pool2d(x, kernel, strides, 'SAME'), True)
        if padding == 'SAME':
            x = tf.pad(x, [(0, 0), *borders, (0, 0)])
        y = tf.nn.avg_pool2d(x, kernel, strides, 'VALID')
        if (share != 1).any():
            y = y * (1 / share)[None, :, :, None].astype(np.float32)
        return Value(y, True)

    def _GlobalAveragePool(self, node, given):
        return Value(tf.reduce_mean(self.last(node.input[0]), [1, 2], True), True)

    def _BatchNormalization(self, node, given):
        scale, offset, mean, variance = (self.values[name].tensor for name in node.input[1:5])
        factor = scale / np.sqrt(variance + np.float32(given.get('epsilon', 1e-5)))
        return Value(self.last(node.input[0]) * factor + (offset - mean * factor),
                     len(self.values[node.input[0]].tensor.shape) > 2)

    def _LayerNormalization(self, node, given):
        x, last = self.values[node.input[0]]
        if given.get('axis', -1) % len(x.shape) != len(x.shape) - 1:
            raise SystemExit('ValueError: LayerNormalization over several dimensions')
        x = self.plain(node.input[0])
        mean = tf.reduce_mean(x, -1, True)
        less = x - mean
        y = less * tf.math.rsqrt(tf.reduce_mean(less * less, -1, True) + given.get('epsilon', 1e-5))
        y = y * self.constants[node.input[1]]
        return Value(y + self.constants[node.input[2]] if len(node.input) > 2 else y, False)

    def _Pad(self, node, given):
        tensor, last = self.values[node.input[0]]
        pads = np.array(given['pads'] if 'pads' in given else self.known(node.input[1])).reshape(2, -1).T
        value = self.known(node.input[2]) if len(node.input) > 2 else None
        widths = pads[to_last(len(pads))] if last else pads
        mode = given.get('mode', b'constant')
        if mode not in (b'constant', b'reflect'):
            raise SystemExit(f'ValueError: Pad {mode.decode()}')
        value = 0.0 if value is None else float(value)
        return Value(tf.pad(tensor, widths.tolist(), mode.decode().upper(), value), last)

    def _Resize(self, node, given):
        x, before, sizes = self.last(node.input[0]), self.shape(node.input[0]), self.known([*node.input, '', ''][3])
        scales = self.known(node.input[2]) if len(node.input) > 2 else None
        after = [int(side) for side in (np.floor(before * scales) if sizes is None else sizes)]
        kind = (given.get('mode', b'nearest').decode(), given.get('coordinate_transformation_mode', b'half_pixel').decode())
        if len(before) != 4 or after[:2] != before[:2] or kind not in _RESIZED or \
                kind[0] == 'nearest' and given.get('nearest_mode', b'') != b'floor':
            raise SystemExit(f'ValueError: Resize {" ".join(kind)} from {before} to {after}')
        function, options = _RESIZED[kind]
        return Value(function(images=x, size=after[2:], **options), True)
