"""Small compiled programs in the TPU compiler's syntax, written by hand."""

# A loop of 12 iterations around a fusion of 1,000 cycles, an all-reduce of [4, 8] in
# bfloat16 among 8 devices, and a call of 70 cycles; beside it a fusion of 30 cycles.
LOOP = """\
HloModule jit_step, is_scheduled=true, num_partitions=16

%add (x: bf16[], y: bf16[]) -> bf16[] {
  %x = bf16[] parameter(0)
  %y = bf16[] parameter(1)
  ROOT %sum = bf16[] add(%x, %y)
}

%double (p: bf16[4,8]) -> bf16[4,8] {
  %p = bf16[4,8]{1,0} parameter(0)
  ROOT %twice = bf16[4,8]{1,0} add(%p, %p)
}

%body (state: (s32[], bf16[4,8])) -> (s32[], bf16[4,8]) {
  %state = (s32[], bf16[4,8]{1,0}) parameter(0)
  %count = s32[] get-tuple-element(%state), index=0
  %value = bf16[4,8]{1,0} get-tuple-element(%state), index=1
  %fusion.1 = bf16[4,8]{1,0} fusion(%value), kind=kLoop, calls=%double, \
backend_config={"window_config":{"estimated_cycles":"1000"}}
  %all-reduce.1 = bf16[4,8]{1,0} all-reduce(%fusion.1), replica_groups=[2,8]<=[16], \
to_apply=%add, metadata={op_name="step/while/body"}
  %called = bf16[4,8]{1,0} call(%all-reduce.1), to_apply=%inner
  ROOT %next = (s32[], bf16[4,8]{1,0}) tuple(%count, %called)
}

%inner (q: bf16[4,8]) -> bf16[4,8] {
  %q = bf16[4,8]{1,0} parameter(0)
  ROOT %fusion.2 = bf16[4,8]{1,0} fusion(%q), kind=kLoop, calls=%double, \
backend_config={"window_config":{"estimated_cycles":"70"}}
}

%condition (state.1: (s32[], bf16[4,8])) -> pred[] {
  %state.1 = (s32[], bf16[4,8]{1,0}) parameter(0)
  %index = s32[] get-tuple-element(%state.1), index=0
  %bound = s32[] constant(12)
  ROOT %less = pred[] compare(%index, %bound), direction=LT
}

ENTRY %main (argument: (s32[], bf16[4,8])) -> (s32[], bf16[4,8]) {
  %argument = (s32[], bf16[4,8]{1,0}) parameter(0)
  %old = bf16[4,8]{1,0} get-tuple-element(%argument), index=1
  %fusion.3 = bf16[4,8]{1,0} fusion(%old), kind=kLoop, calls=%double, \
backend_config={"window_config":{"estimated_cycles":"30"}}
  ROOT %loop = (s32[], bf16[4,8]{1,0}) while(%argument), condition=%condition, \
body=%body
}
"""

_EXCHANGE = """\
HloModule jit_step, is_scheduled=true

%all-reduce-scatter (whole: f32[36,16]) -> f32[36,8] {{
  %whole = f32[36,16]{{1,0}} parameter(0)
  %zero = s32[] constant(0)
  %sum.1 = f32[36,16]{{1,0}} all-reduce(%whole), replica_groups={{{{0,1}},{{2,3}}}}
  ROOT %part = f32[36,8]{{1,0}} dynamic-slice(%sum.1, %zero, %zero)
}}

ENTRY %main (a: f32[36,16], b: bf16[100]) -> f32[36,8] {{
  %a = f32[36,16]{{1,0}} parameter(0)
  %b = bf16[100]{{0}} parameter(1)
{statements}
  ROOT %scattered = f32[36,8]{{1,0}} fusion(%a), kind=kCustom, \
calls=%all-reduce-scatter
}}
"""


def exchange(*statements: str) -> str:
    """Returns a program that scatters a sum of f32[36, 16] among 2 devices.

    Args:
        *statements: more of its lines; %a is f32[36, 16] and %b is bf16[100].
    """
    return _EXCHANGE.format(statements="\n".join(f"  {line}" for line in statements))
