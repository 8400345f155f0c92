from dataclasses import dataclass, field
from typing import Literal

import pytest

from manifests import configuration
from manifests.errors import UserError, did_you_mean


@dataclass(frozen=True)
class Inner:
    width_px: int = 3
    rate_hz: float = 2.0


@dataclass(frozen=True)
class Outer:
    name: str = "a"
    flag: bool = False
    limit: int | None = None
    sizes: tuple[int, ...] = ()
    inner: Inner = field(default_factory=Inner)
    parts: dict[str, int] = field(default_factory=dict)


def test_files_then_overrides_win(tmp_path):
    first, second = tmp_path / "a.yaml", tmp_path / "b.yaml"
    first.write_text("name: x\ninner: {width_px: 7}\nparts: {a: 1}\n")
    second.write_text("inner: {rate_hz: 5}\nparts: {b: 2}\n")
    made = configuration.load(Outer, [first, second], ["inner.width_px=9", "sizes=[1, 2]", "limit=4"])
    assert made == Outer("x", False, 4, (1, 2), Inner(9, 5.0), {"a": 1, "b": 2})


@pytest.mark.parametrize(("text", "value"), [("8e-4", 8e-4), ("1E3", 1000.0), ("-2.5e+1", -25.0)])
def test_numbers_as_people_write_them_which_yaml_reads_as_text(text, value):
    assert configuration.load(Outer, [], [f"inner.rate_hz={text}"]).inner.rate_hz == value


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("nmae=x", "did you mean 'name'"),
        ("inner.widht_px=1", "inner.widht_px.*did you mean 'width_px'"),
        ("inner.width_px=wide", "inner.width_px needs int"),
        ("flag=1", "flag needs bool"),
        ("limit=true", "limit needs int"),
        ("sizes=3", "sizes needs a list"),
        ("name", "needs key=value"),
        ("inner.rate_hz=4e", "inner.rate_hz needs float"),
        ("inner=4", "inner needs a mapping"),
    ],
)
def test_mistakes_are_named(override, message):
    with pytest.raises(UserError, match=message):
        configuration.load(Outer, [], [override])


@pytest.mark.parametrize(
    ("name", "known", "said"),
    [
        ("papre", ["paper", "embedded"], "; did you mean 'paper'?"),
        ("zzz", ["paper", "embedded"], "; known: embedded, paper"),
        ("zzz", [f"column_{i}" for i in range(60)], ""),
    ],
)
def test_the_nearest_name_or_a_short_list_is_suggested(name, known, said):
    assert did_you_mean(name, known) == said


@dataclass(frozen=True)
class Needs:
    name: str
    mode: Literal["fast", "slow"] = "fast"


def test_what_is_needed_and_what_may_be_chosen_is_said():
    assert configuration.build(Needs, {"name": "a", "mode": "slow"}) == Needs("a", "slow")
    with pytest.raises(UserError, match=r"^part lacks 'name'$"):
        configuration.build(Needs, {}, "part")
    with pytest.raises(UserError, match=r"^mode is 'quick'; it must be one of fast, slow$"):
        configuration.build(Needs, {"name": "a", "mode": "quick"})


def test_a_file_in_another_encoding_is_refused_in_one_line(tmp_path):
    file = tmp_path / "a.yaml"
    file.write_bytes("name: Zoë".encode("latin-1"))
    with pytest.raises(UserError, match="is not valid YAML"):
        configuration.read_yaml(file)
