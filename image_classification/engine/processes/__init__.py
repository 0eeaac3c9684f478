"""Several processes of one training: start, join, watch, stop, start again."""
