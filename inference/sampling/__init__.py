"""From noise to latents: windows over the clip, guidance, seeded noise, samplers, and the wave that denoises them."""
