"""Imported first by every command in this directory: it sets up the process before Paddle is imported."""
import os
import sys

ENVIRONMENT = dict(os.environ)                                     # the user's, before anything is set

try:
    from image_classification.cpu import settings
except ModuleNotFoundError as error:
    if error.name != 'image_classification':
        raise
    sys.exit('error: the library is not installed; in its clone: pip install -e .')

settings.quieten()
settings.tune_cpu()
