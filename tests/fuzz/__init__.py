"""Coverage-guided fuzzing of everything that reads bytes from the network.

`python -m tests.fuzz TARGET` runs a target on a build of its own (`make fuzz`): every extension
with the sanitizers, and with a callback at each block it enters (`edge_map.c`). `worker` mutates
inputs in process and keeps those that reach something new; `test_corpus` replays what is committed
in `corpus/` on the ordinary build. A new target is a module in `targets/` and a line in its table.
"""
