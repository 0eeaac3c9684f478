"""What a program must know about a classifier, apart from its weights, to use it."""
from dataclasses import dataclass

from image_classification.datasets.preprocess import Preprocess
from image_classification.errors import UserError


@dataclass(frozen=True)
class Classes:
    """How pictures become a classifier's input, and what its output means."""
    name: str                                                      # the network's name
    preprocess: Preprocess
    class_names: list                                              # empty if they are unknown
    num_classes: int
    gives_logits: bool = True                                      # False: probabilities
    temperature: float = 1.0                                       # logits are divided by it before the softmax

    @classmethod
    def of_network(cls, network, class_names=()):
        """The Classes of a network from `create_model`."""
        keys = network.config.MODEL
        if class_names and len(class_names) != keys.NUM_CLASSES:
            raise UserError(f'{len(class_names)} class names for a network of {keys.NUM_CLASSES} classes; wanted one per class')
        return cls(keys.NAME, Preprocess.from_config(network.config, channels=keys.IN_CHANNELS), list(class_names or ()),
                   keys.NUM_CLASSES, temperature=network.config.TEMPERATURE)
