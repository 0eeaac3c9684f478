"""From a trained network to one that runs elsewhere: static export, prediction, and what a network costs."""
from image_classification.deploy.predictor import Predictor

__all__ = ['Predictor']
