"""The brain: what nodes measure goes in, paths and the streams they carry come out.

All here is sans-IO, but for the file of `tables.term`: time is an argument in microseconds, answers
are values.
"""
