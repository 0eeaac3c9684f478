"""From a trained network to one that runs elsewhere: static export, prediction, and what a network costs."""
