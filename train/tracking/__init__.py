"""Trackers: services and files that receive the metrics of a run while it trains.

`tracker` is the protocol, and `choice` the trackers that there are. Each is called in a
thread of its own by `isolated`, so that none can stop or slow a run.
"""
