"""Training of one pair of towers, without labels: the curve of an in-sync span must peak at shift 0. Needs torch.

The loss (symmetric InfoNCE over whole spans) is the cross entropy of the span's sync curve (mean similarity at 31 shifts, times a learned
sharpness) against shift 0: the very reading that inference makes. Negatives are the 30 other shifts, the nearest the hardest, and the
other clips of the batch. Footage in the wild is not in sync to the
frame. So a few times during training, long before the network could learn clips by heart, every clip's own offset is read from its curve
and taken out; the median over people stays where it was, because what most cameras record defines "in sync". Clips in which no
offset within reach stands out keep theirs.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from curation.lipsync.augment import LEAST_FRAMES, augment_mel, augment_mouth, draw_span
from curation.lipsync.curve import MAX_SHIFT, SHIFTS, movement
from curation.lipsync.evaluate import footage_curve
from curation.lipsync.features import MELS_PER_FRAME
from curation.lipsync.footage import Footage, shifted
from curation.lipsync.network import SyncNetwork
from curation.lipsync.towers import Towers
from manifests.errors import UserError


@dataclass(frozen=True)
class Recipe:
    """How towers are trained. Spans are in frames at 25 Hz; the learning rate warms up over 100 steps and falls as a cosine."""

    steps: int = 500
    batch: int = 24
    span_frames: int = 64
    width: int = 96
    embedding: int = 64
    dropout: float = 0.1
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    label_blur: float = 0.15  # share of the target on each neighbour of shift 0
    average: float = 0.998  # of the running mean of the weights, which is what is kept
    realign_at: tuple[float, ...] = (0.2, 0.35, 0.55)  # shares of the steps
    reach_frames: float = 5.0  # own offsets farther out are left alone


Say = Callable[[str], None]
Augment = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def fit(
    clips: Sequence[Footage],
    recipe: Recipe,
    seed: int,
    name: str,
    say: Say = lambda text: None,
    augment: Augment = augment_mouth,
) -> Towers:
    """Train towers on clips; the same clips, recipe and seed give the same towers on the same machine.

    Args:
        augment: of the (T, channels) mouth features of a span; another one goes with other features than those of `features`.
    """
    clips = [clip for clip in clips if clip.known.sum() >= LEAST_FRAMES + 16]
    if len(clips) < 2:
        raise UserError(f"{len(clips)} clips of at least {LEAST_FRAMES + 16} frames with a face: too few to train on")
    rng = np.random.default_rng(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _Trainer(clips, recipe, rng, name, say, augment).run()


class _Trainer:
    def __init__(self, clips: list[Footage], recipe: Recipe, rng: np.random.Generator, name: str, say: Say, augment: Augment):
        self.recipe, self.rng, self.name, self.say, self.augment = recipe, rng, name, say, augment
        self.clips, self.aligned = clips, list(clips)
        self.rows_moved = np.zeros(len(clips), dtype=int)
        self.chance = _chances(clips)
        shape = (recipe.width, recipe.embedding, recipe.dropout, clips[0].mouth.shape[1])
        self.network, self.mean = SyncNetwork(*shape), SyncNetwork(*shape)
        self.mean.load_state_dict(self.network.state_dict())
        self.mean.requires_grad_(False)
        self.optimiser = torch.optim.AdamW(self.network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)

    def run(self) -> Towers:
        recipe, began, shown = self.recipe, time.monotonic(), 0.0
        realign_at = {round(share * recipe.steps) for share in recipe.realign_at}
        for step in range(recipe.steps):
            for group in self.optimiser.param_groups:
                group["lr"] = recipe.learning_rate * min(1, (step + 1) / 100) * (0.5 + 0.5 * math.cos(math.pi * step / recipe.steps))
            loss, accuracy = self._step(step)
            if step + 1 in realign_at:
                self._realign()
            spent = time.monotonic() - began
            if spent - shown > 15 or step + 1 == recipe.steps:
                shown, eta_s = spent, spent / (step + 1) * (recipe.steps - step - 1)
                self.say(
                    f"{self.name} step {step + 1}/{recipe.steps} | loss {loss:.3f} | within 1 frame {accuracy:.0%} | ETA {eta_s:.0f} s"
                )
        return self.mean.export(self.name)

    def _step(self, step: int) -> tuple[float, float]:
        mouth, mel, weight = self._batch()
        seen, heard = self.network.mouth(mouth), self.network.sound(mel)
        curve = span_curves(seen, heard, weight)
        loss = self._loss(curve, span_matches(seen, heard, weight))
        self.optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
        self.optimiser.step()
        keep = min(self.recipe.average, (step + 1) / (step + 50))
        with torch.no_grad():
            for mean, now in zip(self.mean.state_dict().values(), self.network.state_dict().values(), strict=True):
                mean.lerp_(now, 1 - keep) if mean.is_floating_point() else mean.copy_(now)
        return loss.item(), float(((curve.argmax(1) - MAX_SHIFT).abs() <= 1).float().mean())

    def _loss(self, curve: torch.Tensor, match: torch.Tensor) -> torch.Tensor:
        """curve (B, 31), match (B, B): cross entropy of shift 0 against the other shifts and the other clips, both ways."""
        sharpness = self.network.log_sharpness.exp().clamp(max=200)
        others = ~torch.eye(len(match), dtype=torch.bool)
        blur = self.recipe.label_blur
        loss = torch.zeros(())
        for similarity in (match, match.T):
            foreign = similarity[others].view(len(match), -1)
            log_chance = functional.log_softmax(torch.cat([curve, foreign], 1) * sharpness, dim=1)
            at = log_chance[:, MAX_SHIFT - 1 : MAX_SHIFT + 2].mean(0)
            loss = loss - (blur * at[0] + (1 - 2 * blur) * at[1] + blur * at[2]) / 2
        return loss

    def _batch(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """mouth (B, 50, L), mel (B, 40, 4 L), weight (B, L) of each window, all float32."""
        spans: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        while len(spans) < self.recipe.batch:
            clip = self.aligned[self.rng.choice(len(self.clips), p=self.chance)]
            mouth, mel, usable = draw_span(clip, self.recipe.span_frames, self.rng)
            if usable.sum() >= LEAST_FRAMES:
                weight = usable * movement(mouth, 1 + sum(self.mean.mouth.pad))
                spans.append((self.augment(mouth, self.rng), augment_mel(mel, self.rng), weight))
        mouth, mel, weight = (np.stack(parts).astype(np.float32) for parts in zip(*spans, strict=True))
        margin = self.mean.mouth.pad[0]
        weight[:, :margin] = weight[:, -margin:] = 0  # windows that would see the padding
        return torch.from_numpy(mouth).transpose(1, 2), torch.from_numpy(mel).transpose(1, 2), torch.from_numpy(weight)

    def _realign(self) -> None:
        towers = self.mean.export(self.name)
        peaks = [_peak(*footage_curve(towers, clip)) for clip in self.aligned]
        confidence = np.array([confidence for _, confidence in peaks])
        # An offset of k frames is taken out by moving the sound k frames later, i.e. by -4 k rows.
        rows = self.rows_moved - MELS_PER_FRAME * np.array([offset for offset, _ in peaks])
        clear = (confidence > np.quantile(confidence, 0.2)) & (np.abs(rows) <= self.recipe.reach_frames * MELS_PER_FRAME)
        people = np.array([clip.identity for clip in self.clips])
        means = [rows[clear & (people == person)].mean() for person in np.unique(people[clear])]
        centre = float(np.median(means)) if means else 0.0
        self.rows_moved = np.where(clear, np.rint(rows - centre), 0).astype(int)
        self.aligned = [shifted(clip, int(moved)) for clip, moved in zip(self.clips, self.rows_moved, strict=True)]
        spread = np.std(rows[clear]) / MELS_PER_FRAME if clear.any() else 0.0
        self.say(f"{self.name} own offsets taken out of {clear.sum()} of {len(clear)} clips, standard deviation {spread:.1f} frames")


def _chances(clips: Sequence[Footage]) -> np.ndarray:
    """Chance of each clip to be drawn: by length, people with much footage damped."""
    frames = np.array([clip.n_frames for clip in clips], dtype=float)
    people = np.array([clip.identity for clip in clips])
    of_person = np.array([frames[people == person].sum() for person in people])
    chance = frames / of_person * np.minimum(of_person, 1000) ** 0.7
    return chance / chance.sum()


def _peak(curve: np.ndarray, n_windows: int) -> tuple[float, float]:
    """(offset in frames between the grid points, by a parabola through the top; confidence) or (0, -1) where there is no peak."""
    if n_windows == 0 or not np.isfinite(curve).all():
        return 0.0, -1.0
    best = int(curve.argmax())
    confidence = float(curve[best] - np.median(curve))
    if best in (0, len(curve) - 1):
        return float(SHIFTS[best]), confidence
    left, top, right = curve[best - 1 : best + 2]
    bend = left - 2 * top + right
    return float(SHIFTS[best] + (0.5 * (left - right) / bend if bend < 0 else 0.0)), confidence


def span_curves(mouth: torch.Tensor, sound: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """(B, E, L) unit embeddings and (B, L) weights to (B, 31) mean similarity at `SHIFTS`, as `curve.sync_curve` in torch."""
    similarity = torch.einsum("bei,bej->bij", mouth, sound)
    curve = []
    for offset in SHIFTS:
        diagonal = torch.diagonal(similarity, -int(offset), 1, 2)  # picture t against sound t - offset
        share = weight[:, offset:] if offset >= 0 else weight[:, : weight.shape[1] + offset]
        curve.append((diagonal * share).sum(1) / share.sum(1).clamp(min=1e-6))
    return torch.stack(curve, 1)


def span_matches(mouth: torch.Tensor, sound: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """(B, B): mean similarity of the picture of span b with the sound of span c at shift 0."""
    weighted = mouth * (weight / weight.sum(1, keepdim=True).clamp(min=1e-6))[:, None]
    return torch.einsum("bei,cei->bc", weighted, sound)
