"""Key styles of published weights, see `image_classification/weights/key_styles.py`.

The authors' network, mit-han-lab/efficientvit, separates backbone and head, and numbers consecutive layers in lists of
operations.
"""
from image_classification.weights.key_styles import Style

HEAD = {r'in_conv': '0', r'classifier\.0': '2.linear', r'classifier\.1': '2.norm', r'classifier\.4': '3.linear'}


def styles(model):
    rules = [(rf'^head\.{ours}\.', f'head.op_list.{theirs}.') for ours, theirs in HEAD.items()]
    rules += [(r'^stem\.in_conv\.', 'backbone.input_stem.op_list.0.'),
              (r'^stages\.(\d)\.blocks\.', r'backbone.stages.\1.op_list.')]
    rules += [(rf'^stem\.res{i}\.', f'backbone.input_stem.op_list.{i + 1}.') for i in range(len(model.stem) - 1)]
    return {'official': Style(rules=tuple(rules))}
