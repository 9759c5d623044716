"""The rule for the time of a step that `clinometer plan` uses; see VALIDATION.md."""

from clinometer.tools.plan import step_time

FORM = step_time.Form("cycles and bytes sent", {"cycles": 0.5, "wire": 1.0})
CHIP = "v3"  # The chip of all speeds that the rule was compared with.
ROWS = 12
LARGEST_FACTOR = 1.4
