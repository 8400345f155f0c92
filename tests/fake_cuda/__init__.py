"""CUDA code without a CUDA device: the project's own training step and sampler on tensors that have shapes and devices, but no data.

`stub` compiles a driver and a runtime whose kernels do nothing, so that torch sees an H100; `step` and `pipeline` run in processes of their
own with these in place, under torch's FakeTensorMode. Shapes, devices, dtypes, transfers and memory are real; values and times are not.
The stub is needed because autograd's engine asks the runtime for a device's context before it runs the first backward kernel.
"""
