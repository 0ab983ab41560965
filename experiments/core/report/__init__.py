"""Figures, pages, dashboards and terminal output, made from the results of an experiment."""
