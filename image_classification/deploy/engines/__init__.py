"""The engines that run an export on the CPU: `open_engine(DIRECTORY).run(images)` gives the list of its outputs.

A file per engine, behind the interface in `interface`; `choice` finds the engine of a directory. `eager` is a network as it was
built, behind the same interface. Several threads may use any of them at once.
"""
from image_classification.deploy.engines.choice import ENGINES, FASTEST_FIRST, available, engines_of, open_engine
from image_classification.deploy.export_directory import FILES

__all__ = ['ENGINES', 'FASTEST_FIRST', 'FILES', 'available', 'engines_of', 'open_engine']
