"""Published weights: which there are, how they are read, and how a network gets them."""
from image_classification.weights.loading import (from_torch, load_state, load_weights, read_for, read_safetensors, read_weights,
                                                  to_torch, write_safetensors)

__all__ = ['from_torch', 'load_state', 'load_weights', 'read_for', 'read_safetensors', 'read_weights', 'to_torch',
           'write_safetensors']
