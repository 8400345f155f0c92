"""One HTML file a run: curves, throughput, samples, configuration, provenance."""

from training.report.page import REPORT_FILE, write_report

__all__ = ["REPORT_FILE", "write_report"]
