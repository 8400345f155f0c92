"""The instrument of `make truth` on planted models: the renderer itself, which copies what it is shown, and leaks what is planted."""

import json

import numpy as np
import pytest

pytest.importorskip("numba", reason="people are rendered by numba: install the [people] extra")
pytest.importorskip("torch", reason="the benchmark needs torch: install the [train] extra")

from benchmarks.truth.conditions import CONDITIONS, READ_FACTORS, leaks
from benchmarks.truth.drivers import Someone, held_out
from benchmarks.truth.factors import READ, SIGNALS
from benchmarks.truth.models import Copying
from benchmarks.truth.page import page, verdict, write_page
from benchmarks.truth.response import Calibration, Moments, Responses
from benchmarks.truth.summary import summary
from manifests import UserError

LEAST_FOLLOW, MOST_LEAK_PERCENT, MOST_ERROR = 0.95, 2.0, 0.1


def answered(model: Copying, name: str, people: list[Someone], calibration: Calibration) -> Responses:
    """Each is driven by the next; read on the mesh."""
    clips = []
    for k, portrait in enumerate(people):
        driver = people[(k + 1) % len(people)]
        clips.append(Moments.of(driver.signals, model.truth(CONDITIONS[name], portrait, driver)))
    return Responses(clips, range(len(people)), calibration)


def read_of(people: list[Someone]) -> Calibration:
    return Calibration.exact({k: Moments.of(one.signals, one.signals[:, :9]) for k, one in enumerate(people)})


def holds(people: list[Someone], conditions: list[str]) -> None:
    calibration = read_of(people)
    both = answered(Copying(), "both", people, calibration)
    for name in conditions:
        condition = CONDITIONS[name]
        ours = both if name == "both" else answered(Copying(), name, people, calibration)
        for factor in READ_FACTORS:
            if own := condition.own(factor):
                assert ours.r(factor, own).mean >= LEAST_FOLLOW, (name, factor)
                assert ours.slope(factor, own).mean == pytest.approx(1, abs=0.15), (name, factor)
        for factor, signal in leaks(condition):
            assert abs(ours.leak(factor, signal, both.own_response(factor, factor)).mean) <= MOST_LEAK_PERCENT, (name, factor, signal)
    lids, lips = (calibration.spreads[SIGNALS.index(name)] for name in ("lids", "lips"))
    for planted in (0.3, 1.0):
        leaking = answered(Copying(lip_leak=planted), "eyes", people, calibration)
        read = leaking.leak("lips", "lids", both.own_response("lips", "lips")).mean
        assert read == pytest.approx(-100 * planted * lids / lips, rel=MOST_ERROR)
        assert abs(leaking.leak("lids", "lips", both.own_response("lids", "lids")).mean) <= MOST_LEAK_PERCENT


@pytest.fixture(scope="module")
def two() -> list[Someone]:
    return held_out(2, 1.6)


def test_copying_and_leaking_models_read_as_planted(two) -> None:
    holds(two, ["eyes", "both"])


@pytest.mark.slow
def test_copying_and_leaking_models_read_as_planted_in_all_conditions() -> None:
    holds(held_out(8, 3.0), list(CONDITIONS))


def test_signals_of_a_driver_are_independent(two) -> None:
    for one in two:
        found = np.corrcoef(one.signals.T) - np.eye(len(SIGNALS))
        assert np.abs(found).max() < 0.35
        assert (one.signals.std(0) > [0.02, 0.01, 0.01, 3, 2, 2, 0.03, 0.02, 0.01, 0.02]).all()


def test_what_landmarks_mix_is_divided_out() -> None:
    rng = np.random.default_rng(0)
    signals = [rng.standard_normal((60, 10)) @ (np.eye(10) + 0.3 * rng.standard_normal((10, 10))) for _ in range(4)]
    mixing = np.diag(rng.uniform(0.5, 2, 9)) + 0.1 * rng.standard_normal((9, 9))
    mixing[:, 4] = mixing[4] = 0  # nothing reads it
    calibration = Calibration.of({k: Moments.of(x, x[:, :9] @ mixing.T) for k, x in enumerate(signals)})
    truth = rng.standard_normal((9, 10)) * 0.2 + np.eye(9, 10)
    truth[4] = 0
    ours = Responses([Moments.of(x, x @ truth.T @ mixing.T) for x in signals], range(4), calibration)
    assert ours.slopes[1] == pytest.approx(truth[list(READ)], abs=1e-6)
    own = ours.own_response("lips", "lips")
    expected = 100 * truth[0, 1] * calibration.spreads[1] / (truth[0, 0] * calibration.spreads[0])
    assert ours.leak("lips", "lids", own).mean == pytest.approx(expected)


def test_a_face_counts_by_its_own_gain_and_only_where_it_can_be_read() -> None:
    rng = np.random.default_rng(3)
    signals = [rng.standard_normal((80, 10)) for _ in range(8)]
    gains = np.linspace(0.5, 1.5, 8)
    bearded, answer = 7, 0.8  # whose lips are noise; every answer moves its lips by so much

    def seen(who: int, factors: np.ndarray) -> np.ndarray:
        tracks = factors + 0.02 * rng.standard_normal(factors.shape)
        tracks[:, 0] = rng.standard_normal(80) if who == bearded else gains[who] * tracks[:, 0]
        return tracks

    calibration = Calibration.of({k: Moments.of(x, seen(k, x[:, :9])) for k, x in enumerate(signals)})
    answers = [Moments.of(x, seen(k, x[:, :9] * ([answer] + [1] * 8))) for k, x in enumerate(signals)]
    ours = Responses(answers, range(8), calibration)
    slope = ours.slope("lips", "lips")
    assert slope.n_identities == 7
    assert slope.mean == pytest.approx(answer, abs=0.02)
    assert slope.high - slope.low < 0.05
    assert ours.slope("lids", "lids").n_identities == 8
    assert ours.own_response("lips", "lips") == pytest.approx(answer * calibration.spreads[0], rel=0.02)


def test_a_face_that_stands_still_follows_nothing_and_too_few_frames_say_nothing() -> None:
    rng = np.random.default_rng(1)
    signals, still = rng.standard_normal((40, 10)), np.ones((40, 9))
    assert Moments.of(signals, still).partial(0, 0) == 0
    still[21:] = np.nan
    assert Moments.of(signals, still).count == 21
    still[20] = np.nan
    assert Moments.of(signals, still) is None
    kept = Moments.of(signals, signals[:, :9])
    again = Moments.from_tree(json.loads(json.dumps(kept.to_tree())))
    assert again.covariance == pytest.approx(kept.covariance, rel=1e-4, abs=1e-6)


def test_page_of_figures(tmp_path) -> None:
    rng = np.random.default_rng(2)
    clips = {}
    for k in range(6):
        signals = rng.standard_normal((80, 10))
        for name, extra in (("reader", 0.0), ("both/g1", 0.0), ("eyes/g1", 0.4)):
            tracks = signals[:, :9] + 0.1 * rng.standard_normal((80, 9))
            tracks[:, 0] = tracks[:, 0] * (name != "eyes/g1") + extra * signals[:, 1]
            clips[f"{name}/{k}"] = {"found": 1.0, "moments": Moments.of(signals, tracks).to_tree()}
    about = {"model": "m", "stage": 2, "step": 10, "trained_on": "", "preset": "fast", "seconds": 3.0, "people": 6}
    found = summary({"about": about, **clips})
    leak = found["conditions"]["eyes, guidance 1"]["response, % of the own"]["lips"]["lids"]
    assert leak["mean"] == pytest.approx(40, rel=0.15)
    assert 0 < leak["high"] - leak["low"] < 20
    assert verdict(leak, most=5) == "**no**"
    drivers = found["glasses"]["guidance 1"]
    assert sum(row["lids"]["people"] for row in drivers.values()) == 6
    assert drivers["no glasses"]["lids"]["mean"] == pytest.approx(1, abs=0.02)
    text = page(found)
    assert "| guidance 1 | no glasses | " in text
    assert "| eyes, guidance 1: lids leak into lips, % | ≤ 5 |" in text
    assert "not been run" in text
    assert "- as it ships, `audio_scale` 0," in text
    (tmp_path / "truth.json").write_text(json.dumps(found))
    write_page(tmp_path)
    assert (tmp_path / "truth.md").read_text() == text
    with pytest.raises(UserError, match="make truth"):
        write_page(tmp_path / "nowhere")
    with pytest.raises(UserError, match="too few drivers"):
        summary({"about": about})


def test_too_few_people_or_seconds_are_one_line() -> None:
    with pytest.raises(UserError, match="--people"):
        held_out(1, 3.0)
    with pytest.raises(UserError, match="--seconds"):
        held_out(4, 1.0)
