"""The trainer's step at the paper's size on a GPU that is not there: no tensors of two devices meet, what crosses is bounded, and the
memory is what `plan` says."""

import pytest

pytest.importorskip("torch", reason="the trainer needs torch: install the [train] extra")

from tests.fake_cuda import stub

PARAMETERS = {1: 0.896e9, 2: 0.996e9, 3: 1.405e9}


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_a_step_at_full_size(stage) -> None:
    """Online: the VAE encodes on the device. One clip in the micro-batch: time here goes with the number of operations, not with sizes."""
    (found,) = stub.run("step", "--stage", str(stage))
    said = "\n".join(found["lines"])
    assert found["parameters"] == pytest.approx(PARAMETERS[stage], rel=0.005)
    # The batch goes up asynchronously, tensor by tensor.
    assert found["kinds"]["upload"] <= 30, said
    assert found["kinds"].get("blocking upload", 0) == 0, said
    # The host waits for the device to read the gradient's norm; no tensor comes back.
    assert found["kinds"].get("download", 0) + found["kinds"]["read"] <= 3, said
    assert found["peak_gb"] == pytest.approx(found["planned_gb"], rel=0.1)
