"""One way to open an onnxruntime session: on the provider that was asked for, or an error. There is no silent fall-back to the CPU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from manifests.errors import UserError, did_you_mean

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
INSTALL_GPU = "pip install .[gpu]"
SLOW_LANDMARKS = "or ask for the slow one: --set landmark_settings.runtime.provider=cpu"


class ProviderError(UserError):
    """The execution provider that was asked for is not there or does not run; the message says what to install."""


def require_provider(provider: str, otherwise: str = SLOW_LANDMARKS) -> None:
    """Fail unless this installation of onnxruntime has `provider` (`cpu` or `cuda`); whether it runs only a session can tell.

    Args:
        otherwise: the end of the message, what else the user may do.

    Raises:
        ProviderError
    """
    if provider not in PROVIDERS:
        raise ProviderError(f"provider is {provider!r}{did_you_mean(provider, tuple(PROVIDERS))}")
    wanted = PROVIDERS[provider]
    try:
        import onnxruntime
    except ImportError:
        hint = INSTALL_GPU if provider == "cuda" else "pip install .[cpu]"
        raise ProviderError(f"onnxruntime is not installed; install it with `{hint}`") from None
    if wanted not in onnxruntime.get_available_providers():
        raise ProviderError(
            f"provider {provider} was asked for, but the onnxruntime that is installed lacks {wanted}: `make setup-gpu`, or"
            f" `pip uninstall onnxruntime`, then `{INSTALL_GPU}`; {otherwise}"
        )


def require_running(provider: str, running: Sequence[str], otherwise: str = SLOW_LANDMARKS) -> None:
    """Fail unless `provider` is the first of the providers that a session really runs: onnxruntime falls back to the CPU with a log line.

    Raises:
        ProviderError
    """
    if not running or running[0] != PROVIDERS[provider]:
        raise ProviderError(
            f"provider {provider} was asked for, but the session runs on {', '.join(running) or 'nothing'}: onnxruntime could not load"
            f" CUDA or cuDNN, or there is no GPU; `make doctor` says which, check nvidia-smi and `{INSTALL_GPU}`, {otherwise}"
        )


def open_session(
    network: Path | bytes, provider: str, otherwise: str = SLOW_LANDMARKS, cuda_options: Mapping[str, Any] | None = None
) -> Any:
    """An `onnxruntime.InferenceSession` that runs on `provider`, with one thread on the CPU: parallel work is more processes.

    Args:
        network: an .onnx file, or its bytes.
        cuda_options: of the CUDA provider, such as its memory's bound.

    Raises:
        ProviderError: it does not run where it was asked to.
        UserError: the file is no network that onnxruntime reads.
    """
    require_provider(provider, otherwise)
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    chosen: list[Any] = [PROVIDERS[provider]]
    if provider == "cuda":
        if hasattr(onnxruntime, "preload_dlls"):
            onnxruntime.preload_dlls()  # finds CUDA and cuDNN in torch's or NVIDIA's wheels
        chosen = [(PROVIDERS[provider], dict(cuda_options or {}))]
    name = "the network" if isinstance(network, bytes) else str(network)
    try:
        session = onnxruntime.InferenceSession(network if isinstance(network, bytes) else str(network), options, providers=chosen)
        session.disable_fallback()
    except Exception as error:  # onnxruntime raises classes of its own for every kind of damage
        raise UserError(f"onnxruntime cannot open {name}: {' '.join(str(error).split())[:300]}") from None
    require_running(provider, session.get_providers(), otherwise)
    return session
