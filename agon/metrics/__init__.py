"""Metrics: one number per file, in three steps: features, statistics, number.

``features/`` turns samples into vectors; a metric's file gathers what it needs of them and computes the number; ``agon.metrics.evaluate.evaluate`` draws the
samples, runs the metrics and writes the protocol beside every number. Importing this package does not import torch.
"""
