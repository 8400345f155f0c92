"""Scores folders of generated videos against real ones, ours or any other method's. Importing it loads no torch."""
