"""Several processes of one training: start, join, watch, stop and restart them."""
