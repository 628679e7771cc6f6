"""The live page: what the planner did, does and would do, for people and programs. Read-only.

``now``, ``horizon``, ``past`` and ``what_if`` make documents from outcomes; ``app`` serves each as JSON and as a page.
"""
