"""The pipeline at the paper's size on a GPU that is not there: no tensor of two devices meets, and what crosses is counted."""

import pytest

pytest.importorskip("torch", reason="the pipeline needs torch: install the [train] extra")

from tests.fake_cuda import stub

STEPS = 2


def test_sixteen_frames_with_guidance_stay_on_the_device() -> None:
    (found,) = stub.run("pipeline", "--frames", "16", "--steps", str(STEPS))
    said = "\n".join(found["lines"])
    assert found["frames"] == [1, 16, 3, 512, 512]
    assert found["decoded"] == 16
    assert found["dtypes"] == ["torch.bfloat16"]
    assert found["weights_gb"] == pytest.approx(2 * (1.405 + 0.0837), rel=0.01)  # bfloat16: the model's and the autoencoder's parameters
    # Nothing comes back before the pictures do, and nothing is read to decide what is done next.
    assert "download" not in found["kinds"], said
    assert "read" not in found["kinds"], said
    # Up go the portrait, the driven frames (as bytes) and the sound, once, and a few tables; nothing a window and step.
    assert found["kinds"]["blocking upload"] <= 7 + STEPS, said
    assert found["peak_gb"] <= 5.5
