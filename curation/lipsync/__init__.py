"""Landmark lip sync: two small towers on the 68 points and log-mel, their training, and how they are read. See `docs/lipsync.md`."""
