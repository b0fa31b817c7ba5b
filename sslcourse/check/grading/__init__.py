"""Grading a folder of submissions: `notebooks` reads them, `sandbox` shuts the worker in, `ask` talks to it
over `wire`, `grade` judges.
"""
