"""From a manifest to batches: settings, seeded draws, modality, clips, frames, latent cache, dataset, loader, driving patches."""
