"""What is made of whole clips before training: latent caches, face swaps and stylised variants."""
