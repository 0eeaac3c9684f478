"""Training and evaluation. Knows no family, only what `create_model` returns."""
