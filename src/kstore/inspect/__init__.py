"""Looking into log directories without a store: verify, repair, dump."""

from kstore.inspect.dump import dump
from kstore.inspect.repair import Action, plan_repair, repair
from kstore.inspect.report import Finding, Report
from kstore.inspect.verify import verify

__all__ = ["Action", "Finding", "Report", "dump", "plan_repair", "repair", "verify"]
