"""A web page for trying networks: drop a picture, see its classes, the latency and a heat map. tools/demo.py runs it."""
