"""Curation: clips in, a scored and filtered Parquet manifest out. `python -m curation --help` teaches the rest."""
