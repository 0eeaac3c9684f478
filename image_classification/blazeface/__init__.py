"""BlazeFace: the article's extractor, MediaPipe's front and back networks, and a face detector for these two."""
from image_classification.blazeface.detector import BlazeFaceDetector
from image_classification.blazeface.model import BlazeFace, BlazeFaceExtractor, build_model

__all__ = ['BlazeFace', 'BlazeFaceDetector', 'BlazeFaceExtractor', 'build_model']
