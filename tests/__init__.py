"""Tests. A regular package, so that a `tests` that some library leaves in site-packages is not found instead."""
