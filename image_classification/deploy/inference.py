"""Paddle Inference on the CPU: `run(create_predictor(DIRECTORY), images)` returns the outputs of an export.

`engines.open_engine` does the same for every engine.
"""
from image_classification.deploy.engines.paddle_inference import create_predictor, run

__all__ = ['create_predictor', 'run']
