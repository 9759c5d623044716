"""`clinometer study --power`: what a planned study could detect, before it runs.

`settings` is what the simulation assumes, `inputs` makes the design and the curve from
a study's configuration, `pilot` estimates the curve and the spread of runs from a pilot
instead, and `text` shows the result of `inference/power.py`.
"""
