"""What must be the same on a GPU as on the CPU. Every test takes a `device`: on the CPU its body is proven to run in every suite, on CUDA
(`pytest -m gpu`) it proves something."""
