"""The weights that come with the package, made again from nothing: people, their curation, the decoder, two stages, the packed folder."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from curation.job.lock import hold
from manifests.errors import UserError

CONFIG = "embedded-weights"
STAGES = (1, 2)  # frames by themselves: what stage 3 adds is not worth its time at this size yet
DECODER_STEPS = 3000
CLIP_S, CLIP_SIDE_PX = 2.0, 192  # more people teach more than longer clips, and the model sees 128 px of them
SAMPLES_PER_S, CLIPS_PER_S = 17.0, 0.25  # of one core beside other work, measured where the packaged weights were made


def hours_on_a_core(num_people: int) -> float:
    """What the whole takes on one core of the machine that the packaged weights were made on."""
    from training.config import load_training_config

    configs = [load_training_config(CONFIG, stage) for stage in STAGES]
    samples = sum(config.steps * config.batch_size for config in configs)
    return (samples / SAMPLES_PER_S + num_people / CLIPS_PER_S) / 3600


def make_weights(
    out: str, num_people: int, overrides: tuple[str, ...] = (), decoder_steps: int = DECODER_STEPS, say: Callable[[str], None] = print
) -> Path:
    """Runs every part that is not done yet; killed, the same call continues.

    Args:
        out: folder of everything.
        num_people: that are rendered to learn from.
        overrides: dotted settings of both stages.
        decoder_steps: of the decoder's training on the codec alone; on the model's predictions it is trained for a third as many.

    Returns:
        The packed folder, `out`/packed: what `inference/weights` holds.

    Raises:
        UserError: what any part raises, or another run is writing to `out`.
    """
    with hold(Path(out)):
        return _make(Path(out), num_people, overrides, decoder_steps, say)


def _make(folder: Path, num_people: int, overrides: tuple[str, ...], decoder_steps: int, say: Callable[[str], None]) -> Path:
    from curation.config import load_config
    from curation.job.run import run as curate
    from curation.people.job import render_people
    from curation.people.settings import PeopleSettings
    from training.codec.train import CodecTraining, is_finished, train_codec
    from training.config import load_training_config
    from training.loop.run_folder import PIPELINE
    from training.run import train

    say(f"{num_people:,} people, two stages: about {hours_on_a_core(num_people):.1f} hours on one core; on a GPU the training is minutes")
    people, curated, decoder = folder / "people", folder / "curation", folder / "decoder.safetensors"
    render_people(people, PeopleSettings(count=num_people, seconds=CLIP_S, size_px=CLIP_SIDE_PX))
    curate("people", str(people), str(curated), load_config("embedded"))
    for stage in STAGES:
        before = str(folder / f"s{stage - 1}") if stage > STAGES[0] else None
        train(load_training_config(CONFIG, stage, overrides), str(curated), str(folder / f"s{stage}"), init=before, say=say)
    model, first = str(folder / f"s{STAGES[-1]}" / PIPELINE), folder / "decoder-alone.safetensors"
    if not is_finished(first):
        train_codec(CodecTraining(steps=decoder_steps), str(curated), str(first), say=say)
    if not is_finished(decoder):
        config = CodecTraining(steps=max(1, decoder_steps // 3), lr=3e-4)
        train_codec(config, str(curated), str(decoder), init=str(first), model=model, say=say)
    return pack(folder / f"s{STAGES[-1]}", decoder, folder / "packed", f"{num_people:,} rendered people (CC0), no real ones")


def pack(run: str | Path, decoder: str | Path, target: str | Path, trained_on: str) -> Path:
    """Writes `target`/embedded, a run's averaged weights in float16 as a pipeline's folder, and `target`/decoder.safetensors.

    Raises:
        UserError: no run with weights, or no decoder.
    """
    import torch

    from inference.models.forgiving_decoder import ForgivingDecoder
    from inference.models.megactor import MegActorModel
    from inference.pipeline.folder import read_pipeline_file, save_pipeline
    from training.config import load_training_config
    from training.loop.run_folder import PIPELINE
    from training.run import inference_config

    source, target = Path(run) / PIPELINE, Path(target)
    if not Path(decoder).is_file():
        raise UserError(f"no decoder at {decoder}: train one by `python -m training codec`")
    ForgivingDecoder.from_file(decoder)
    settings, record = read_pipeline_file(source)
    shown = inference_config(load_training_config(CONFIG, record.stage))
    own = {name: getattr(shown, name) for name in ("most_steps", "most_guidance", "mouth_guidance", "sound_guidance")}
    settings = replace(settings, codec=replace(settings.codec, decoder="packaged"), **own)
    model = MegActorModel.from_pretrained(source / "transformer", torch_dtype=torch.float16)
    save_pipeline(target / "embedded", model, settings, replace(record, trained_on=trained_on))
    shutil.copyfile(decoder, target / "decoder.safetensors")
    return target
