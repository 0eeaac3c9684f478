"""A page to try networks on: drop a picture, see classes, latency and heat map. Run by tools/demo.py."""
