"""Draws text, contact sheets and heat maps."""
