"""Opens the predictor that a command line names."""
import os
from importlib.util import find_spec

from image_classification.config.bounds import shortened
from image_classification.config.loading import similar
from image_classification.deploy.classifier import without_paddle
from image_classification.deploy.predictor import Predictor
from image_classification.errors import UserError
from image_classification.installation import tool

# For the help texts of commands that take a network.
NAMED = 'NAME for a network with published weights, or NAME=WEIGHTS for another tag, a file or an address'
FORMS = f'a checkpoint (.safetensors), the directory of an export, {NAMED}'


def open_predictor(text, weights='', engine='auto', batch_size=32, threads=None):
    """The Predictor for a checkpoint, an export directory, or a network given as NAME or NAME=WEIGHTS.

    Args:
        weights: the weights of a network given by NAME; the same as NAME=WEIGHTS.
        engine, batch_size, threads: see Predictor.
    Raises:
        UserError: `text` is none of these, or the network is not a classifier; also as Predictor and `named_network`.
    """
    if not find_spec('paddle'):
        if not os.path.exists(text) or weights:
            raise without_paddle(f'{shortened(text)}, which is no directory here,' if not weights else f'--weights {weights}')
        return Predictor(text, engine, batch_size, threads)
    from image_classification.checkpoint import named_network      # an export needs no Paddle
    from image_classification.models import list_models, network_by_name
    named = network_by_name(text, weights)
    if not named:
        near = [] if os.path.exists(text) or os.sep in text else similar(text.partition('=')[0], list_models())
        if near:
            raise UserError(f'{shortened(text)} is no file, no directory and no network; the nearest names: {", ".join(near)}')
        return Predictor(text, engine, batch_size, threads)
    if engine not in ('auto', 'paddle'):
        raise UserError(f'the network {text} runs in paddle; for {engine}, export it first: {tool("export")} {text}')
    return Predictor.of_network(*named_network(*named, _check_classes), batch_size=batch_size)


def _check_classes(network):
    if not network.classifier_layers:
        raise UserError(f'{network.config.MODEL.NAME} is a detector, which names no classes; wanted a classifier. For faces: '
                        f'{tool("detect-faces")}')
