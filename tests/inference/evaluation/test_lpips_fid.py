"""LPIPS and FID features against their packages, on random weights in the published layouts; weights that are missing or unsafe."""

import pickle
import tempfile
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from made_clips import face_points, made_clip  # noqa: E402

from curation.weights.store import Store  # noqa: E402
from inference.evaluation.frechet import frechet_distance  # noqa: E402
from inference.evaluation.metrics.base import Judged, UnavailableError  # noqa: E402
from inference.evaluation.metrics.fid import Fid  # noqa: E402
from inference.evaluation.metrics.lpips_distance import LpipsAlex, LpipsVgg, distances  # noqa: E402
from manifests import UserError  # noqa: E402

NAMES = {
    "alexnet-owt-7be5be79.pth": "lpips-alexnet",
    "vgg16-397923af.pth": "lpips-vgg16",
    "weights-inception-2015-12-05-6726825d.pth": "inception",
}


def put(models: Path, file: str, state: object) -> None:
    """Brings a file into the store as a person without network would."""
    with tempfile.TemporaryDirectory() as folder:
        if isinstance(state, bytes):
            (Path(folder) / file).write_bytes(state)
        else:
            torch.save(state, Path(folder) / file)
        Store.standard(models).fetch(NAMES[file], origin=Path(folder))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """AlexNet and VGG-16 as torchvision publishes them, Inception as torch-fidelity does, all random."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    from torchvision.models import alexnet, vgg16

    root = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    for file, trunk in (("alexnet-owt-7be5be79.pth", alexnet), ("vgg16-397923af.pth", vgg16)):
        with torch.device("meta"):
            whole = trunk(weights=None)
        state = {f"features.{name}": value for name, value in whole.features.to_empty(device="cpu").state_dict().items()}
        for value in state.values():
            value.normal_(0, 1 / max(1, value[0].numel()) ** 0.5)
        put(root, file, {**state, "classifier.6.bias": torch.zeros(1000)})
    with torch.random.fork_rng():
        import torch_fidelity.feature_extractor_inceptionv3 as published

        original, published.load_state_dict_from_url = published.load_state_dict_from_url, lambda *a, **k: {}
        load, FeatureExtractorInceptionV3.load_state_dict = FeatureExtractorInceptionV3.load_state_dict, lambda self, state: None
        try:
            state = FeatureExtractorInceptionV3("x", ["2048"]).state_dict()
        finally:
            published.load_state_dict_from_url, FeatureExtractorInceptionV3.load_state_dict = original, load
    put(root, "weights-inception-2015-12-05-6726825d.pth", state)
    return root


def clips() -> tuple:
    return made_clip(face_points(6), seed=1), made_clip(face_points(6), seed=2)


@pytest.mark.parametrize(("metric", "net"), [(LpipsAlex, "alex"), pytest.param(LpipsVgg, "vgg", marks=pytest.mark.slow)])
def test_lpips_equals_the_package(models: Path, metric: type, net: str) -> None:
    import lpips
    import torchvision

    ours, real = clips()
    found = metric(models_dir=str(models), batch=4).score(Judged(ours, real))[metric.name]
    peer = lpips.LPIPS(net=net, pnet_rand=True, verbose=False)
    with torch.device("meta"):
        trunk = {"alex": torchvision.models.alexnet, "vgg": torchvision.models.vgg16}[net](weights=None)
    trunk.features.to_empty(device="cpu")
    state = torch.load(next((models / "evaluation").glob(f"{net}*.pth")), weights_only=True)
    trunk.features.load_state_dict({k.removeprefix("features."): v for k, v in state.items() if k.startswith("features.")})
    for number in range(1, 6):  # the package's own constructor slices torchvision's trunk so
        for name, layer in getattr(peer.net, f"slice{number}").named_children():
            if layer.state_dict():
                layer.load_state_dict(trunk.features[int(name)].state_dict())
    frames = [torch.from_numpy(clip.frames[1:]).permute(0, 3, 1, 2) / 127.5 - 1 for clip in (ours, real)]
    with torch.no_grad():
        assert found == pytest.approx(peer(*frames).mean().item(), rel=1e-5)


def test_identical_frames_are_at_distance_zero_and_more_noise_is_farther(models: Path) -> None:
    _, real = clips()
    metric = LpipsAlex(models_dir=str(models))
    noise = np.random.default_rng(0).normal(0, 1, real.frames.shape)
    values = [
        metric.score(Judged(made_clip(face_points(6), frames=np.clip(real.frames + s * noise, 0, 255).astype(np.uint8)), real))[
            "lpips_alex"
        ]
        for s in (0, 4, 12, 40)
    ]
    assert values[0] == pytest.approx(0, abs=1e-7)
    assert values == sorted(values)
    assert metric.score(Judged(real, real, is_real=False)) == {}


@pytest.mark.slow
def test_fid_equals_torch_fidelitys_on_the_same_frames_and_weights(models: Path, tmp_path: Path) -> None:
    import torch_fidelity
    from torch.utils.data import TensorDataset

    class Images(TensorDataset):
        def __getitem__(self, index: int) -> torch.Tensor:
            return self.tensors[0][index]

    metric = Fid(models_dir=str(models), batch=4)
    ours, real = made_clip(face_points(20), seed=1), made_clip(face_points(20), seed=2)
    features = [metric.features(clip.frames) for clip in (ours, real)]
    assert features[0].shape == (4, 2048)
    sets = [Images(torch.from_numpy(clip.frames[::5].transpose(0, 3, 1, 2).copy())) for clip in (ours, real)]
    theirs = torch_fidelity.calculate_metrics(
        input1=sets[0], input2=sets[1], fid=True, cuda=False, verbose=False, batch_size=3, cache=False, save_cpu_ram=True,
        feature_extractor_weights_path=str(models / "evaluation" / "weights-inception-2015-12-05-6726825d.pth"),
    )["frechet_inception_distance"]  # fmt: skip
    assert frechet_distance(*features) == pytest.approx(theirs, rel=1e-3, abs=1e-6)


def test_missing_unsafe_and_foreign_weights_are_reasons(models: Path, tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="models fetch"):
        LpipsAlex(models_dir=str(tmp_path))

    class Bomb:
        def __reduce__(self):
            return (print, ("boom",))

    put(tmp_path, "weights-inception-2015-12-05-6726825d.pth", pickle.dumps(Bomb()))
    with pytest.raises(UnavailableError, match="refused"):
        Fid(models_dir=str(tmp_path))
    put(tmp_path, "vgg16-397923af.pth", {"features.0.weight": torch.zeros(2, 2)})
    with pytest.raises(UnavailableError, match="published layout"):
        LpipsVgg(models_dir=str(tmp_path))
    if not torch.cuda.is_available():
        with pytest.raises(UnavailableError, match="no GPU"):
            LpipsAlex(device="cuda", models_dir=str(models))


def test_distances_do_not_depend_on_the_batch(models: Path) -> None:
    ours, real = clips()
    metric = LpipsAlex(models_dir=str(models))
    network = metric._network
    assert distances(network, ours.frames, real.frames, batch=1) == pytest.approx(
        distances(network, ours.frames, real.frames, batch=6), abs=1e-6
    )


def test_one_tensor_that_is_no_numbers_ends_it_instead_of_an_empty_column(models: Path) -> None:
    ours, real = clips()
    metric = LpipsAlex(models_dir=str(models))
    with torch.no_grad():
        list(metric._network.net.parameters())[-1][0] = float("nan")
    with pytest.raises(UserError, match="lpips_alex: its network gives numbers that are none"):
        metric.score(Judged(ours, real))
