"""The rules for the time of a step with their constants; see VALIDATION.md.

`validation/forms.py` fits the constants and `validation/page.py` compares the rules.
"""

from clinometer.tools.plan import step_time

CHIP = "v3"  # The chip of all published speeds.
CYCLES = "cycles and bytes sent"
FORMS = {
    form.name: form
    for form in (
        step_time.Form("proportional to FLOPs", {"flops": 4.190}),
        step_time.Form("FLOPs plus a constant", {"flops": 3.239}, 0.02147),
        step_time.Form(CYCLES, {"cycles": 0.4392, "wire": 8.020}),
    )
}
# The rule of `clinometer plan`, that with the lowest mean error.
FORM = FORMS["FLOPs plus a constant"]
# The only rule that tells meshes and policies of rematerialization apart.
RANKING = FORMS[CYCLES]
# Every printed speed is within this factor of the one that the rule predicts for it
# from the other rows.
FACTOR = 1.32
