"""The engines that run an export on the CPU: `open_engine(DIRECTORY).run(images)` returns the list of its outputs.

Each engine has a file and implements `interface`; `choice` finds the engine for a directory. `eager` runs a Paddle network
through the same interface. Several threads may share an engine.
"""
from image_classification.deploy.engines.choice import (ENGINES, FASTEST_FIRST, FORMATS, PHONE_ENGINES, available, engines_of,
                                                         open_engine)
from image_classification.deploy.export_directory import FILES

__all__ = ['ENGINES', 'FASTEST_FIRST', 'FILES', 'FORMATS', 'PHONE_ENGINES', 'available', 'engines_of', 'open_engine']
