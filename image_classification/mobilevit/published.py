"""Key styles of published weights, see `image_classification/weights/key_styles.py`.

The authors' library, apple/ml-cvnets, numbers stages from 1 and appends a transformer's last norm to its blocks. Its second
version has 1x1 convolutions instead of linear layers, with other names.
"""
from image_classification.mobilevit.model import MobileViTBlock
from image_classification.weights.key_styles import Style

LAYER = r'^stages\.(\d)\.(\d)\.'
CONV = {r'\.conv\.': '.block.conv.', r'\.bn\.': '.block.norm.'}
RESIDUAL = {'conv1_1x1': 'exp_1x1', 'conv2_kxk': 'conv_3x3', 'conv3_1x1': 'red_1x1'}
V1 = {'conv_kxk': 'local_rep.conv_3x3', r'conv_1x1\.weight': 'local_rep.conv_1x1.block.conv.weight', 'conv_fusion': 'fusion'}
V1_BLOCK = {'norm1': 'pre_norm_mha.0', r'attn\.qkv': 'pre_norm_mha.1.qkv_proj', r'attn\.proj': 'pre_norm_mha.1.out_proj',
            'norm2': 'pre_norm_ffn.0', r'mlp\.fc1': 'pre_norm_ffn.1', r'mlp\.fc2': 'pre_norm_ffn.4'}
V2 = {'conv_kxk': 'local_rep.0', r'conv_1x1\.weight': 'local_rep.1.block.conv.weight'}
V2_BLOCK = {'norm1': 'pre_norm_attn.0', r'attn\.qkv_proj': 'pre_norm_attn.1.qkv_proj.block.conv',
            r'attn\.out_proj': 'pre_norm_attn.1.out_proj.block.conv', 'norm2': 'pre_norm_ffn.0',
            r'mlp\.fc1': 'pre_norm_ffn.1.block.conv', r'mlp\.fc2': 'pre_norm_ffn.3.block.conv'}


def _cvnets(model):
    blocks = [(i, block) for i, stage in enumerate(model.stages) for block in stage if hasattr(block, 'transformer')]
    first = isinstance(blocks[0][1], MobileViTBlock)
    around, within, head = (V1, V1_BLOCK, 'classifier.fc.') if first else (V2, V2_BLOCK, 'classifier.1.')
    rules = list(CONV.items())
    rules += [(rf'{LAYER}{ours}\.', rf'layers.\1.\2.block.{theirs}.') for ours, theirs in RESIDUAL.items()]
    rules += [(rf'{LAYER}{ours}\b', rf'layers.\1.\2.{theirs}') for ours, theirs in around.items()]
    rules += [(rf'{LAYER}transformer\.(\d)\.{ours}\.', rf'layers.\1.\2.global_rep.\3.{theirs}.')
              for ours, theirs in within.items()]
    rules += [(rf'^stages\.{i}\.(\d)\.norm\.', rf'layers.{i}.\1.global_rep.{len(block.transformer)}.') for i, block in blocks]
    rules += [(rf'{LAYER}', r'layers.\1.\2.'), (r'^stem\.', 'conv_1.'), (r'^final_conv\.', 'conv_1x1_exp.'),
              (r'^head\.fc\.', head)]
    rules += [(rf'^layers\.{i}\.', f'layer_{i + 1}.') for i in range(len(model.stages))]
    return Style(rules=tuple(rules))


def styles(model):
    return {'cvnets': _cvnets(model)}
