"""The Green-LLM linear programme: stated in Pyomo, solved by HiGHS, checked without either."""
