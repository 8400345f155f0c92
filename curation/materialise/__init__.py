"""Materialising: from a manifest's rows to face-centred clips of one size, with sound, landmarks and a manifest of their own."""
