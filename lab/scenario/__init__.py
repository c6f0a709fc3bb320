"""Scenario files: what an overlay is made of, what happens to it, and what is expected of it.

`model` is the file, `loader` reads it, `topology` makes links of it, `report` is what a run found,
`expectations` holds one against the other, `rendering` shows both. A virtual and a real-time run
share all of this.
"""
