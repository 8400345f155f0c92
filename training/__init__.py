"""Training in three stages: data from a manifest, losses, trainer, checkpoints. Importing the package loads no torch."""
