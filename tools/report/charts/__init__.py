"""The figures of reports, one a file: each returns its Altair chart.

A chart takes a variant, "wide" or "narrow" (for phones), and holds its data, so that it
can be shown in a notebook. Figures of several panels take the panel, too.
"""
