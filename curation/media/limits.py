"""What one clip may cost before it becomes a failed row."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class MediaLimits:
    """Bounds of the decoding child. Time that the caller spends on the frames never counts against a deadline, nor time in which other
    programs keep the child from a processor (where the system says so: Linux).

    Attributes:
        start_s: for the child process to come up.
        stall_s: for one answer of the child. It answers at least every half second of decoding, so silence means a hang.
        deadline_base_s, deadline_per_media_s: a clip may take `base + per_media x its length in seconds`.
        frame_budget_mib: memory shared with the child, in which frames travel; a frame that does not fit is `too_large`.
        block_mib: frames travel in blocks of at most this size, or one by one if a frame is larger. Large blocks spare
            changes between the two processes, small ones memory.
        prefetch_blocks: how many blocks the child may decode ahead. 0: caller and child take turns and together use one core.
        max_frame_px: width x height above which a file is `too_large` (the default admits 8192 x 4320).
        max_span_ms: spans that last longer are `too_large`.
        max_gap_ms: a pause between two frames above which the time stamps are taken to be damaged.
        child_memory_mib: address space of the child; what needs more is `too_large`.
        remote_file_mib: a remote file is copied to the temporary directory, one at a time a worker; a larger one is `too_large`.
        fetch_mib_per_s: a remote file may take `deadline_base_s` and its size over this rate.
        recycle_after_clips: the child is replaced after so many clips, so that leaks in native decoders stay small.
    """

    start_s: float = 60.0
    stall_s: float = 20.0
    deadline_base_s: float = 20.0
    deadline_per_media_s: float = 4.0
    frame_budget_mib: int = 128
    block_mib: int = 16
    prefetch_blocks: int = 0
    max_frame_px: int = 8192 * 4320
    max_span_ms: float = 4 * 3_600_000.0
    max_gap_ms: float = 10_000.0
    child_memory_mib: int = 3072
    remote_file_mib: int = 8192
    fetch_mib_per_s: float = 1.0
    recycle_after_clips: int = 500

    def __post_init__(self) -> None:
        if self.prefetch_blocks < 0:
            raise ValueError(f"prefetch_blocks is {self.prefetch_blocks}; it must be 0 or more")
        for name in self.__dataclass_fields__:
            if name != "prefetch_blocks" and not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be above 0")

    @property
    def area_bytes(self) -> int:
        """Size of the shared memory; pages that no frame touches cost nothing."""
        return self.frame_budget_mib << 20

    def layout(self, picture_bytes: int) -> tuple[int, int]:
        """(blocks, pictures a block) that the shared memory is divided into; (0, 0) if it holds no such picture."""
        fitting = self.area_bytes // picture_bytes
        n_blocks = min(1 + self.prefetch_blocks, fitting)
        return n_blocks, n_blocks and max(1, min((self.block_mib << 20) // picture_bytes, fitting // n_blocks))
