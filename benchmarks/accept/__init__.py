"""The parts of `python -m benchmarks.accept_gpu`: what only a device can prove, one process a step."""
