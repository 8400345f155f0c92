"""Scorers: one module each, found by `curation.discovery`. A scorer writes numbers; verdicts are presets (`manifests.presets`)."""
