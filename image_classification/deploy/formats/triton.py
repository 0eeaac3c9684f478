"""Writes an ONNX export as a model repository for the Triton Inference Server. It follows Triton's documentation of model
repositories and model_config.proto; Triton itself was not run."""
import re
import shutil

from image_classification.deploy.export_directory import ExportDirectory
from image_classification.files import new_directory
from image_classification.names.text import shown

MAX_BATCH = 32
_QUEUE_DELAY = 2000                                                # microseconds for which a request waits for others
_TYPES = {'float32': 'TYPE_FP32', 'uint8': 'TYPE_UINT8'}
_CONFIG = '''name: "{name}"
platform: "onnxruntime_onnx"
backend: "onnxruntime"
default_model_filename: "model.onnx"
max_batch_size: {max_batch}
input [
{inputs}
]
output [
{outputs}
]
{batching}'''
_BATCHING = f'dynamic_batching {{ max_queue_delay_microseconds: {_QUEUE_DELAY} }}\n'


def write_repository(export, repository, max_batch=MAX_BATCH):
    """Write <repository>/<name>/config.pbtxt, labels.txt and 1/model.onnx for `tritonserver --model-repository`.

    Args:
        export: a directory with inference.onnx, in float32 or quantised.
        repository: must be empty or not exist yet.
        max_batch: the largest batch that Triton collects; it collects none if the export's batch size is fixed.
    Returns:
        the model's name in Triton: the network's name, with unsafe characters for a path or a request replaced.
    Raises:
        UserError: there is no such export, or the repository exists or cannot be written.
    """
    import onnx
    source, description = ExportDirectory(export).onnx(), ExportDirectory(export).read()
    name = re.sub(r'[^A-Za-z0-9_.-]', '_', description['name'])
    graph = onnx.load(str(source)).graph
    labels = 'labels.txt' if description['class_names'] else None
    first = 0 if 'batch' in ExportDirectory(export).input() else 1
    config = _CONFIG.format(name=name, max_batch=max_batch if first else 0, batching=_BATCHING if first else '',
                            inputs=',\n'.join(_tensor(value, first) for value in graph.input),
                            outputs=',\n'.join(_tensor(value, first, labels) for value in graph.output))
    with new_directory(repository, 'export') as ready:
        (ready / name / '1').mkdir(parents=True)
        shutil.copyfile(source, ready / name / '1' / 'model.onnx')
        (ready / name / 'config.pbtxt').write_text(config, encoding='utf-8')
        if labels:                                                 # a line per class
            lines = [shown(' '.join(str(label).split())) for label in description['class_names']]
            (ready / name / labels).write_text('\n'.join(lines) + '\n', encoding='utf-8')
    return name


def _tensor(value, first, labels=None):
    """The entry of an input or output, with its dimensions from number `first` on; Triton adds the batch. -1 is dynamic."""
    import onnx
    kind = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type).name
    dims = [entry.dim_value or -1 for entry in value.type.tensor_type.shape.dim][first:]
    label = f' label_filename: "{labels}"' if labels else ''
    return f'  {{ name: "{value.name}" data_type: {_TYPES[kind]} dims: [ {", ".join(map(str, dims))} ]{label} }}'
