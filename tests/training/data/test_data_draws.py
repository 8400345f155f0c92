"""Random draws, and which conditions a sample sees."""

from collections import Counter

import numpy as np
import pytest
import torch

from inference.models.components import combination
from manifests import UserError
from training.config import load_training_config
from training.data.draws import batch_noise, draws, sample_noise
from training.data.modality import AUDIO, MIXED, VISUAL, ModalityConfig, combination_shares, draw_conditions

N = 100_000


@pytest.fixture(scope="module")
def stage2():
    return [draw_conditions(ModalityConfig(), 0, 2, index) for index in range(N)]


def test_a_draw_depends_on_its_four_names_alone() -> None:
    names = [(0, 1, 7, "a"), (1, 1, 7, "a"), (0, 2, 7, "a"), (0, 1, 8, "a"), (0, 1, 7, "b")]
    firsts = {name: draws(*name).random() for name in names}
    assert len(set(firsts.values())) == len(names)
    assert draws(0, 1, 7, "a", attempt=1).random() not in firsts.values()
    for name in reversed(names):
        draws(*name).random(1000)
        assert draws(*name).random() == firsts[name]
    with pytest.raises(ValueError, match="0 or more"):
        draws(0, 1, -1, "a")


def test_neighbouring_indices_are_independent() -> None:
    values = np.array([draws(0, 1, index, "timestep").random(4) for index in range(4000)])
    assert abs(np.corrcoef(values[:-1, 0], values[1:, 0])[0, 1]) < 0.05
    assert abs(np.corrcoef(values[:-1, 3], values[1:, 0])[0, 1]) < 0.05
    assert np.histogram(values, 10, (0, 1))[0] / values.size == pytest.approx(np.full(10, 0.1), abs=0.01)


def test_noise_is_normal_and_its_own_for_each_sample() -> None:
    noise = batch_noise(3, 1, [5, 6], (4, 16, 16))
    assert noise.dtype == torch.float32
    assert noise.shape == (2, 4, 16, 16)
    assert torch.equal(noise[1], sample_noise(3, 1, 6, (4, 16, 16)))
    many = sample_noise(0, 1, 0, (100_000,))
    assert many.mean().item() == pytest.approx(0, abs=0.02)
    assert many.std().item() == pytest.approx(1, abs=0.01)
    assert abs(torch.corrcoef(noise.flatten(1))[0, 1]) < 0.1


def test_modalities_are_drawn_in_the_paper_s_shares(stage2) -> None:
    shares = [np.mean([c.modality == kind for c in stage2]) for kind in (VISUAL, AUDIO, MIXED)]
    assert shares == pytest.approx([0.1, 0.2, 0.7], abs=0.01)
    stage3 = np.array([draw_conditions(ModalityConfig(), 0, 3, index).modality for index in range(20_000)])
    assert [np.mean(stage3 == kind) for kind in (VISUAL, AUDIO, MIXED)] == pytest.approx([0.1, 0.2, 0.7], abs=0.015)


def test_what_each_modality_shows_in_stage_2(stage2) -> None:
    for c in stage2:
        assert c.mask_attention == c.mask_loss
        if c.all_dropped or not any((c.eyes, c.mouth, c.audio)):
            assert not any((c.eyes, c.mouth, c.audio, c.mask_loss))
            assert c.reference != c.all_dropped
        elif c.modality == AUDIO:
            assert (c.eyes, c.mouth, c.audio, c.mask_loss) == (False, False, True, False)
        elif c.modality == MIXED:
            assert (c.eyes, c.mouth, c.audio, c.mask_loss) == (True, False, True, False)
        else:
            assert not c.audio
            assert c.eyes or c.mouth
            assert c.mask_loss == (c.eyes and not c.mouth)
    assert np.mean([c.all_dropped for c in stage2]) == pytest.approx(0.05, abs=0.01)
    assert np.mean([not c.reference and not c.all_dropped for c in stage2]) == pytest.approx(0.05, abs=0.01)


def test_stage_1_draws_every_subset_alike() -> None:
    conditions = [draw_conditions(ModalityConfig(), 1, 1, index) for index in range(20_000)]
    shown = [c for c in conditions if c.eyes or c.mouth]
    subsets = [(True, False), (False, True), (True, True)]
    assert [np.mean([(c.eyes, c.mouth) == s for c in shown]) for s in subsets] == pytest.approx([1 / 3] * 3, abs=0.015)
    assert all(c.modality == VISUAL and not c.audio and c.mask_loss == (c.eyes and not c.mouth) for c in shown)


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_the_record_holds_the_shares_that_are_drawn(stage) -> None:
    """What guidance compares with is drawn in every stage: nothing at all, and the reference without driver and sound."""
    drawn = Counter(
        combination(eyes=c.eyes, mouth=c.mouth, audio=c.audio, reference=c.reference)
        for c in (draw_conditions(ModalityConfig(), 0, stage, index) for index in range(20_000))
    )
    shares = combination_shares(ModalityConfig(), stage)
    assert shares.keys() == drawn.keys()
    assert {name: count / 20_000 for name, count in drawn.items()} == pytest.approx(shares, abs=0.012)
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["no condition"] == pytest.approx(0.05)
    assert shares["reference"] == pytest.approx(0.05)
    without = combination_shares(ModalityConfig(driving_dropout=0.0, all_dropout=0.0), stage)
    assert not {"no condition", "reference"} & set(without)


def test_attention_and_loss_are_masked_apart() -> None:
    """Sound can teach the mouth while the mouth does not see the eyes."""

    def mixed(**settings):
        drawn = (draw_conditions(ModalityConfig(**settings), 0, 2, index) for index in range(2000))
        return {(c.mask_attention, c.mask_loss) for c in drawn if c.modality == MIXED and c.eyes}

    assert mixed() == {(False, False)}
    assert mixed(mask_mixed_attention=True) == {(True, False)}
    assert mixed(mask_mixed_loss=True) == {(False, True)}


def test_equation_2_and_the_masked_loss_of_video_are_switched_apart() -> None:
    def eyes_alone(**settings):
        drawn = (draw_conditions(ModalityConfig(**settings), 0, 2, index) for index in range(4000))
        return {(c.mask_attention, c.mask_loss) for c in drawn if c.modality == VISUAL and c.eyes and not c.mouth}

    assert eyes_alone() == {(True, True)}
    assert eyes_alone(mask_visual_attention=False) == {(False, True)}
    assert eyes_alone(mask_visual_loss=False) == {(True, False)}
    assert eyes_alone(masked_stages=()) == {(False, False)}
    old = load_training_config("embedded", 2, ("data.modality.masked_stages=[1]",)).data.modality  # a file from before the two settings
    assert (old.mask_visual_attention, old.mask_visual_loss, old.masked_stages) == (True, True, (1,))


def test_the_old_name_says_what_it_is_called_now() -> None:
    with pytest.raises(UserError, match=r"'data.modality.mask_mixed'; it is now mask_mixed_attention \(Eq. 2\) and mask_mixed_loss"):
        load_training_config("embedded", 2, ("data.modality.mask_mixed=true",))


def test_the_choices_are_options() -> None:
    def of(stage, kind, **settings):
        config = ModalityConfig(all_dropout=0, reference_dropout=0, driving_dropout=0, **settings)
        return [c for c in (draw_conditions(config, 0, stage, i) for i in range(2000)) if c.modality == kind]

    assert all(c.eyes and c.mouth and not c.mask_loss for c in of(3, VISUAL))
    assert {(c.eyes, c.mouth) for c in of(3, VISUAL, stage3_face_dropout=True)} == {(True, False), (False, True), (True, True)}
    assert not any(c.mask_loss for c in of(3, VISUAL, stage3_face_dropout=True))
    assert not any(c.mask_loss for c in of(2, VISUAL, masked_stages=(1,)))
    assert not of(2, VISUAL, visual_share=0.0, audio_share=0.3, mixed_share=0.7)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"visual_share": 0.2}, "visual_share"),
        ({"eyes_share": -0.1, "mouth_share": 0.55, "both_share": 0.55}, "eyes_share"),
        ({"all_dropout": 0.6, "reference_dropout": 0.6}, "all_dropout"),
        ({"masked_stages": (4,)}, "masked_stages"),
        ({"mask_paths": "two_hops"}, "mask_paths"),
        ({"mask_paths": "all", "masked_stages": (1, 2, 3)}, "temporal modules"),
    ],
)
def test_shares_that_make_no_sense_are_refused(settings, named) -> None:
    with pytest.raises(ValueError, match=named):
        ModalityConfig(**settings)
