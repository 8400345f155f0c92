"""The model, its latent codec and audio encoder, the sampler and evaluation. Importing the package loads no torch."""
