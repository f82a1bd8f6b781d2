"""Runs to play with, in a browser on this machine."""
