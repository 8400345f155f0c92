"""The report of a run, and the picture that explains one clip."""

from curation.report.page import write_report

__all__ = ["write_report"]
