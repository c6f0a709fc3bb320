"""`overlane doctor`: whether a host, and a node or a brain on it, can work; if not, what to do.

Nothing here changes anything or waits for ever. The engine finds out most of this by itself and
goes on without; the doctor says so before.
"""
