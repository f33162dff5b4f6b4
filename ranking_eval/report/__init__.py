"""Reports that can be sent to anyone: HTML that loads nothing, and Markdown beside it."""

from ranking_eval.report.evaluation_report import write_report
from ranking_eval.report.study_report import write_study

__all__ = ["write_report", "write_study"]
