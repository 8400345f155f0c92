"""Training of the decoder that forgives latents which disagree (`inference.models.forgiving_decoder`)."""
