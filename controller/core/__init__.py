"""The parts that `controller.brain` is made of: each holds one concept, none does I/O."""
