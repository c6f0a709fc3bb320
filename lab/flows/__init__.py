"""Models of what shares a path with media: TCP, long and short, and constant rates. Sans-IO,
seeded.

A flow says when it wants to send and how much, and is told of acknowledgements; `carrier` brings
its segments over a path (`lab.link.LinkModel.admit`, or a link of a scenario) and the answers back.
"""
