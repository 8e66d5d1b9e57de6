"""Looking into log directories without a store: verify, repair, dump."""

from kstore.inspect.dumps import dump
from kstore.inspect.repairs import Action, plan_repair, repair
from kstore.inspect.report import Finding, Report
from kstore.inspect.verification import verify

__all__ = ["Action", "Finding", "Report", "dump", "plan_repair", "repair", "verify"]
