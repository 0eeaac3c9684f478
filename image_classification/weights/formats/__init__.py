"""Files of weights that others write, read as data: none can run code."""
