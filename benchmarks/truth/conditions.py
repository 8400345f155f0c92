"""What is shown and heard, and so which signal is a factor's own."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.truth.factors import FACTORS, READ, SIGNAL_OF, SIGNALS, SOUND


@dataclass(frozen=True)
class Condition:
    """
    Attributes:
        regions: patches of the driver that are seen: eyes, mouth, both; none = no driver.
        heard: the sound drives too.
    """

    name: str
    regions: str
    heard: bool

    @property
    def signals(self) -> frozenset[str]:
        """Of `SIGNAL_OF`: what is given to the model."""
        shown = {"none": set(), "both": {"eyes", "mouth", "head"}}.get(self.regions, {self.regions, "head"})
        return frozenset(shown | ({"sound"} if self.heard else set()))

    def own(self, factor: str) -> str | None:
        """The signal among `SIGNALS` that a factor ought to follow here; None: none is given."""
        if SIGNAL_OF[factor] in self.signals:
            return factor
        return SOUND if factor == "lips" and self.heard else None


CONDITIONS = {
    condition.name: condition
    for condition in (
        Condition("eyes", "eyes", False),
        Condition("mouth", "mouth", False),
        Condition("both", "both", False),
        Condition("sound", "none", True),
        Condition("sound+eyes", "eyes", True),
    )
}
UNGUIDED, SHIPPED = "1", "shipped"
GUIDANCES = {UNGUIDED: "guidance 1", SHIPPED: "as it ships"}
"""How answers are guided, by name: not at all, or as the preset and the model's own limits say, which is what a user gets."""
READ_FACTORS = tuple(FACTORS[k] for k in READ)


def leaks(condition: Condition) -> list[tuple[str, str]]:
    """(factor, signal) of all pairs whose signal is given and must not drive the factor."""
    return [
        (factor, signal)
        for factor in READ_FACTORS
        for signal in SIGNALS
        if SIGNAL_OF[signal] in condition.signals and SIGNAL_OF[signal] != SIGNAL_OF[condition.own(factor) or factor]
    ]
