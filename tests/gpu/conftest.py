import pytest

torch = pytest.importorskip("torch", reason="these compare torch's devices: install the [train] extra")
pytest.importorskip("diffusers", reason="the model needs diffusers: install the [train] extra")

torch.set_num_threads(1)


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request) -> str:
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.fail("a GPU was asked for by -m gpu, and torch sees none")
    return request.param


@pytest.fixture(autouse=True)
def exact_float32() -> None:
    """TF32 off: comparisons are of float32 with float32."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before
