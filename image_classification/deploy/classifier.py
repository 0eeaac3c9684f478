"""A classifier that is ready to run, from a checkpoint, an export or a network."""
import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from image_classification.config.bounds import shortened
from image_classification.deploy.classes import Classes
from image_classification.deploy.engines.choice import ENGINES as OF_EXPORTS, open_engine
from image_classification.deploy.engines.interface import Engine
from image_classification.deploy.export_directory import DESCRIPTION, ONNX, ExportDirectory
from image_classification.errors import UserError
from image_classification.installation.missing_paddle import how_to_install

# 'paddle' runs a checkpoint, the others an export. 'inference' is an older name of 'paddle_inference'.
EAGER = 'paddle'
ENGINES = ('auto', EAGER, 'inference', *OF_EXPORTS)
_NAMES = {'auto': None, 'inference': 'paddle_inference'}           # names for `open_engine`


@dataclass
class Classifier:
    """An engine that runs the network, and the meaning of its input and output."""
    engine: Engine
    classes: Classes

    @classmethod
    def open(cls, path, engine='auto', threads=None, bf16=False):
        """The classifier of a checkpoint or of an export; arguments and errors are those of Predictor."""
        path = Path(path)
        if path.name in (DESCRIPTION, ONNX):
            path = path.parent
        if os.path.isdir(path):                                    # Path.is_dir raises if the name is too long
            if engine == EAGER:
                raise UserError(f'{path} is an export, which the engine {engine!r} does not run; wanted one of auto, '
                                f'{", ".join(OF_EXPORTS)}')
            classes = ExportDirectory(path).classes()
            return cls(open_engine(path, _NAMES.get(engine, engine), threads, bf16), classes)
        if not os.path.isfile(path) or path.suffix != '.safetensors':
            found = 'is something else' if os.path.exists(path) else 'does not exist'
            raise UserError(f'{shortened(str(path))} {found}; wanted a checkpoint (.safetensors) or the directory of an export')
        if engine not in ('auto', EAGER) or threads or bf16:
            setting = f'the engine {engine!r} does not run' if engine not in ('auto', EAGER) else 'takes no threads or bf16'
            raise UserError(f'{path} is a checkpoint, which {setting}; wanted the engine \'paddle\' or \'auto\', or the '
                            'directory of its export')
        if not find_spec('paddle'):
            raise without_paddle(f'the checkpoint {path}')
        from image_classification.checkpoint import load_network   # an export needs no Paddle
        return cls.of_network(*load_network(path))

    @classmethod
    def of_network(cls, network, class_names=()):
        """The classifier of a network from `create_model`. The network is put into evaluation mode."""
        if not hasattr(network, 'config'):
            raise UserError(f'Predictor.of_network got a {type(network).__name__}; wanted a classifier of create_model')
        from image_classification.deploy.engines.eager import Eager
        network.eval()
        return cls(Eager(network), Classes.of_network(network, class_names))


def without_paddle(what):
    """The UserError to raise if `what` needs Paddle, which is not installed."""
    return UserError(f'{what} needs PaddlePaddle, which is not installed; wanted the directory of an export with {ONNX}, which '
                     f'runs without. Or install it {how_to_install()}')
