"""Mutations of the library, each with the one test or claim that has to notice it."""
