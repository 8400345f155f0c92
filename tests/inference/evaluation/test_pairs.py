"""Pair lists and protocols."""

import json
from pathlib import Path

import pandas as pd
import pytest

from inference.evaluation.pairs import Pair, read_pairs, write_pairs
from inference.evaluation.protocols import PROTOCOLS, STRICT_GAP_MS, plan_pairs
from manifests import UserError, clip_id


def rows(n_identities: int = 12, clips: int = 5, duration_ms: float = 6_000.0) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "clip_id": clip_id("hdtf", f"{who}_{number}", 0, None),
            "source_key": f"{who}_{number}",
            "identity": f"person {who}",
            "duration_ms": duration_ms,
            "has_audio": True,
        }
        for who in range(n_identities)
        for number in range(clips)
    )


def a_pair(**changes) -> Pair:
    values = {
        "pair_id": "a",
        "protocol": "strict",
        "identity": "i",
        "reference_identity": "i",
        "reference": "r.png",
        "driver": "d",
        "audio": "s",
    }
    return Pair(**{**values, **changes})


def test_a_list_comes_back_as_it_was_written_and_its_version_follows_its_content(tmp_path: Path) -> None:
    pairs = [a_pair(), a_pair(pair_id="b", parameters={"motion": 0.5}, real="é.mp4")]
    write_pairs(pairs, tmp_path)
    again = read_pairs(tmp_path)
    assert list(again) == pairs
    assert again.version == read_pairs(tmp_path / "pairs.jsonl").version
    write_pairs(pairs[:1], tmp_path)
    assert read_pairs(tmp_path).version != again.version
    assert again.path("r.png") == tmp_path / "r.png"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "line 2"),
        ("[1]", "not a JSON object"),
        ('{"pair_id": "../x"}', "protocol is missing"),
        (json.dumps({**vars(a_pair()), "pair_id": "../x"}), "no file name"),
        (json.dumps({**vars(a_pair()), "signal": "smell"}), "must be one of"),
        (json.dumps({**vars(a_pair()), "driver": ""}), "needs a driver"),
        (json.dumps({**vars(a_pair()), "speed": 1}), "unknown field 'speed'"),
        (json.dumps({**vars(a_pair()), "parameters": {"motion": "much"}}), "numbers"),
        (json.dumps({**vars(a_pair()), "identity": 3}), "needs a text"),
        (json.dumps(vars(a_pair(pair_id="first"))), "twice"),
    ],
)
def test_bad_lines_are_named_by_their_number(tmp_path: Path, line: str, said: str) -> None:
    file = tmp_path / "pairs.jsonl"
    file.write_text(json.dumps(vars(a_pair(pair_id="first"))) + "\n" + line + "\n")
    with pytest.raises(UserError, match=said) as caught:
        read_pairs(file)
    assert "line 2" in str(caught.value)


def test_missing_and_empty_lists_are_errors(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        read_pairs(tmp_path)
    (tmp_path / "pairs.jsonl").write_text("\n")
    with pytest.raises(UserError, match="names no pair"):
        read_pairs(tmp_path)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_adding_people_leaves_the_pairs_of_the_others_alone(protocol: str) -> None:
    few, _ = plan_pairs(rows(8), protocol)
    more, _ = plan_pairs(rows(12), protocol)
    assert len({pair.name for pair in more}) == len(more)
    if protocol != "cross":  # there a newcomer may be the nearest in the draw
        assert [pair.name for pair in more if int(pair.row["identity"].split()[1]) < 8] == [pair.name for pair in few]


def test_protocols_do_what_their_table_says() -> None:
    df = rows()
    like, strict, cross, audio, sweep = (plan_pairs(df, p)[0] for p in PROTOCOLS)
    assert len(like) == 12 * 3
    assert {(p.start_ms, p.length_ms, p.reference_ms, p.signal, p.has_real) for p in like} == {(0, 6000, 0, "video+audio", True)}
    assert {(p.start_ms, p.length_ms) for p in strict} == {(STRICT_GAP_MS, 4000)}
    assert all(p.reference_row["identity"] != p.row["identity"] and not p.has_real for p in cross)
    assert {p.signal for p in audio} == {"audio"}
    assert {p.has_real for p in sweep if p.parameters.get("motion") == 1.0} == {True}
    assert len(sweep) == 7 * len(like)


def test_clips_that_do_not_fit_are_named_and_none_at_all_is_an_error() -> None:
    df = rows(2, 1)
    df.loc[0, "duration_ms"] = 2_500.0
    planned, left_out = plan_pairs(df, "strict")
    assert len(planned) == 1
    assert "too short" in left_out[0]
    with pytest.raises(UserError, match="no clip of 1 fits"):
        plan_pairs(df[:1], "strict")
    with pytest.raises(UserError, match="did you mean 'strict'"):
        plan_pairs(df, "strikt")
    with pytest.raises(UserError, match="nobody else"):
        plan_pairs(rows(1), "cross")
