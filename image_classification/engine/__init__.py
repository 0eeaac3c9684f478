"""Training and evaluation. Nothing here depends on a family of networks."""
