"""Implements `clinometer plan`: memory, time and cost of training, beforehand."""

from collections.abc import Sequence
import json
import sys

from clinometer.tools.plan import cuda
from clinometer.tools.plan import options as options_lib
from clinometer.tools.plan import planning
from clinometer.tools.plan import request as request_lib
from clinometer.tools.plan import step_compiler
from clinometer.tools.plan import table
from clinometer.train import exit_codes


def main(argv: Sequence[str]) -> int:
    """Runs the command with the arguments `argv`; returns the exit code.

    Raises:
        ModuleNotFoundError: libtpu is not installed.
    """
    options = options_lib.parse(argv)
    try:
        target = planning.target(options.topology, options.prices, options.gpu)
        requests = [
            request_lib.Request(
                model=name,
                topology=target.topology,
                batch_size=options.batch_size,
                encoder_length=options.encoder_length,
                decoder_length=options.decoder_length,
                mesh=options.mesh,
                num_microbatches=options.num_microbatches,
                fields=options_lib.fields(options),
                platform=target.platform,
            )
            for name in options.models
        ]
        make = planning.fits if options.fit else planning.plans
        found = make(
            requests,
            target,
            steps=options.steps,
            jobs=options.jobs,
            timeout=options.timeout,
        )
    except (step_compiler.LostError, cuda.MissingError, OSError) as error:
        print(f"clinometer plan: {error}", file=sys.stderr)
        return exit_codes.FAILED
    except ValueError as error:
        print(f"clinometer plan: {error}", file=sys.stderr)
        return exit_codes.USAGE
    if options.json:
        records = [one.to_json() for one in found] if options.fit else found
        print(json.dumps(records, indent=2))
    else:
        lines = table.fits(found) if options.fit else table.text(found)
        print("\n".join(lines))
    return exit_codes.DONE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
