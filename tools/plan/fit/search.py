"""Compiles the most promising ways to run a step, and ranks those that fit."""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
import dataclasses
from typing import Any

from clinometer import models
from clinometer.kernels.options.errors import OptionError
from clinometer.models.layers import remat
from clinometer.tools.plan import machines
from clinometer.tools.plan import request as request_lib
from clinometer.tools.plan.fit import estimate
from clinometer.tools.plan.fit import meshes

MOST_COMPILED = 8
Record = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a search found.

    Attributes:
        records: the plans of all steps that were compiled, at least one: those that
            fit by their `ranking_seconds`, the fastest first, then the others.
        possible: number of ways that the model, the batch and the devices allow.
        estimated: number of them whose estimated memory a device has.
    """

    records: Sequence[Record]
    possible: int
    estimated: int

    def to_json(self) -> Record:
        """Returns the best plan, with the others under the key "fit"."""
        best, *others = self.records
        found = {
            "possible": self.possible,
            "estimated_to_fit": self.estimated,
            "others": others,
        }
        return {**best, "fit": found}


def candidates(
    request: request_lib.Request, found: Sequence[meshes.Mesh]
) -> Iterator[estimate.Candidate]:
    """Yields the ways to run a step that the model and the batch allow.

    Args:
        request: the step. Its policy of rematerialization and its number of
            microbatches are the least that are tried.
        found: the meshes that the model can be divided over.
    """
    model = models.build(request.model, **request.model_fields)
    policies = remat.POLICIES
    if request.fields.get("remat", "none") != "none":
        policies = (request.fields["remat"],)
    for mesh in found:
        parts = mesh.sizes.batch_parts
        for number in range(request.num_microbatches, request.batch_size + 1):
            if request.batch_size % (number * parts):
                continue
            try:
                model.check_parts(request.batch_size // number, request.shape, parts)
            except models.ConfigError:
                continue
            for policy in policies:
                yield estimate.Candidate(mesh, policy, number)


def run(
    request: request_lib.Request,
    found: Sequence[meshes.Mesh],
    machine: machines.Machine,
    shape: estimate.Shape,
    *,
    capacity: int,
    compile_one: Callable[[request_lib.Request], Record],
) -> Outcome:
    """Compiles up to `MOST_COMPILED` candidates, and ranks those that fit.

    The order is that of the estimated time. If nothing is estimated to fit, what needs
    least is compiled. What is not estimated to fit is left out,
    and so is everything that needs at least as much, by the estimate, as a candidate
    that turned out not to fit. More microbatches are not tried where fewer fit.

    Args:
        request: the step.
        found: the meshes that the model can be divided over.
        machine: the chip.
        shape: the numbers of the model and the batch.
        capacity: bytes of a device.
        compile_one: compiles a step and returns its plan.

    Raises:
        OptionError: nothing is possible.
    """
    possible = list(candidates(request, found))
    needs = {one: estimate.memory(one, shape) for one in possible}
    fitting = [one for one in possible if needs[one] <= capacity]
    if not possible:
        raise OptionError(
            f"{request.model}: no mesh of the devices divides the model and the batch"
        )
    order = sorted(
        fitting or [min(possible, key=needs.__getitem__)],
        key=lambda one: (estimate.seconds(one, shape, machine), one.num_microbatches),
    )
    records: list[Record] = []
    fit: set[tuple[meshes.Mesh, str]] = set()
    limit = float("inf")
    for one in order:
        if len(records) == MOST_COMPILED:
            break
        if needs[one] >= limit or (one.mesh, one.remat) in fit:
            continue
        record = compile_one(as_request(request, one))
        records.append(record | {"estimated_bytes": round(needs[one])})
        if record["fits"]:
            fit.add((one.mesh, one.remat))
        else:
            limit = needs[one]
    ranked = sorted(records, key=lambda x: (not x["fits"], x["ranking_seconds"] or 0))
    return Outcome(ranked, len(possible), len(fitting))


def as_request(
    request: request_lib.Request, candidate: estimate.Candidate
) -> request_lib.Request:
    """Returns the step of a candidate.

    Args:
        request: the step that it is a candidate for.
        candidate: the candidate.
    """
    return dataclasses.replace(
        request,
        mesh=dataclasses.asdict(candidate.mesh.sizes),
        num_microbatches=candidate.num_microbatches,
        fields={**request.fields, "remat": candidate.remat},
    )
