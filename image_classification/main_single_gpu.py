"""Train or evaluate on one device: python main_single_gpu.py -cfg configs/mobileformer_26m.yaml (-h lists the flags)."""
import sys
from pathlib import Path

if __name__ == '__main__':
    # In place of this file's directory, whose modules would hide others of the same names.
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    from image_classification.cpu import settings
    settings.quieten()                                             # both before Paddle is imported
    settings.tune_cpu()
    from image_classification.engine import launch
    launch.single()
