"""Augmentations that both players see and gradients pass through."""
