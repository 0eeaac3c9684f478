"""Text, sheets and heat maps as pictures."""
