"""The page of ``agon evaluate --report``: what is missing, repeated or copied (docs/metrics/collapse.md)."""
