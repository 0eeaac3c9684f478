"""`fit`: train a classifier for a folder of pictures."""
