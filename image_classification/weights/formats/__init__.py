"""Readers of weights files written by other programs. They treat a file as data, so it cannot run code."""
