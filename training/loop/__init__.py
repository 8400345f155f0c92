"""The loop: what is trained, inputs, loss, optimiser, the trainer, its checkpoints and its run folder."""
