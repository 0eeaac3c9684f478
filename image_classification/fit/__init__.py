"""From a folder of pictures to a classifier: `fit`."""
