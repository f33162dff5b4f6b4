"""What an encode run did, in one table: counts, speed, memory, and where it computed."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from sail_features.spark.encode_task import TaskReport


class EncodeSummary(BaseModel):
    """The end of a run, also kept in the manifest.

    ``tokens_per_s`` and ``items_per_s`` are of the whole encode stage's wall time;
    ``share_of_peak`` is of the matrix-product peak measured on the same devices, null
    where operations can't be counted. A token is a text's token or an image's patch.
    """

    model_config = ConfigDict(frozen=True)

    items: int = 0
    without_content: int = 0
    """Items that name no file."""
    skipped: int = 0
    """Items whose newest vector is already of their present content."""
    distinct: int
    resumed: int
    """Distinct contents that a run that was stopped had encoded."""
    reused: int
    """Distinct contents that another item or an earlier row had a vector of."""
    encoded: int
    quarantined: int = 0
    seconds: float
    items_per_s: float
    tokens_per_s: float
    padding_share: float
    share_of_peak: float | None
    peak_memory_gb: float
    peak_device_memory_gb: float
    tokens_per_batch: tuple[int, ...]
    out_of_memory: int
    devices: dict[str, str]
    """Each device, and why it computed there."""

    def describe(self, dtype: str) -> list[tuple[str, str]]:
        """Return what a person wants to know, a label and a sentence each."""
        share = "" if self.share_of_peak is None else f", {self.share_of_peak:.0%} of matmul peak"
        memory = f"{self.peak_memory_gb:.2f} GB a worker"
        if self.peak_device_memory_gb:
            memory += f", {self.peak_device_memory_gb:.2f} GB on the device"
        without = f", {self.without_content:,} without a file" if self.without_content else ""
        where = [f"{device}: {reason}" for device, reason in self.devices.items()]
        return [
            ("items", f"{self.items:,}: {self.skipped:,} encoded before{without}"),
            (
                "contents",
                f"{self.distinct:,} distinct: {self.encoded:,} encoded, {self.reused:,} known, "
                f"{self.resumed:,} from a run that was stopped",
            ),
            ("quarantined", f"{self.quarantined:,} items"),
            (
                "speed",
                f"{self.items_per_s:,.0f} contents/s, {self.tokens_per_s:,.0f} tokens/s "
                f"({self.padding_share:.1%} padding){share}",
            ),
            ("memory", memory),
            ("device", "; ".join(where) or "none: nothing to encode"),
            ("dtype", dtype),
        ]


def summarise(reports: Sequence[TaskReport], seconds: float, **counts: int) -> EncodeSummary:
    """Add up the tasks' reports."""
    statistics = [report.statistics for report in reports]
    real = sum(one.real_tokens for one in statistics)
    padded = sum(one.padded_tokens for one in statistics)
    items = sum(one.items for one in statistics)
    refused = sum(one.refused.total() for one in statistics)
    possible = sum(
        one.peak_flops * one.statistics.forward_seconds for one in reports if one.peak_flops
    )
    return EncodeSummary(
        **counts,
        encoded=items - refused,
        seconds=round(seconds, 3),
        items_per_s=round(items / seconds, 1) if seconds else 0.0,
        tokens_per_s=round(real / seconds, 1) if seconds else 0.0,
        padding_share=round(1 - real / padded, 4) if padded else 0.0,
        share_of_peak=round(sum(one.flops for one in statistics) / possible, 3)
        if possible
        else None,
        peak_memory_gb=round(max((r.memory_bytes for r in reports), default=0) / 1e9, 3),
        peak_device_memory_gb=round(
            max((r.device_memory_bytes for r in reports), default=0) / 1e9, 3
        ),
        tokens_per_batch=tuple(sorted({one.budget for one in statistics})),
        out_of_memory=sum(one.out_of_memory for one in statistics),
        devices={report.device: report.reason for report in reports},
    )
