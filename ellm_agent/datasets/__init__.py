"""Logged transitions: written by runs, kept as Minari datasets, relabelled for other goals, read by offline agents."""
