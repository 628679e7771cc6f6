"""The Green-LLM linear programme: stated in Pyomo, solved by HiGHS, checked without either."""

from green_llm.optimizer.optimize import optimize, weighted
from green_llm.optimizer.planner import Planner
from green_llm.optimizer.session import Session

__all__ = ["Planner", "Session", "optimize", "weighted"]
