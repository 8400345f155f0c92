"""What watches a run: validation, sensitivity to each condition, sample videos, and one HTML page a run."""
