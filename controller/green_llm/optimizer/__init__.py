"""The Green-LLM linear programme: stated in Pyomo, solved by HiGHS, checked without either."""

from green_llm.optimizer.lexicographic import Session
from green_llm.optimizer.optimize import optimize, weighted

__all__ = ["Session", "optimize", "weighted"]
