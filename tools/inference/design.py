"""A table of runs as a design: cells, data orders and what they can estimate.

The model is loss = mean(architecture, size) + effect(order) + noise. A cell is one
architecture at one size, which is a width or, where several sizes of an architecture
share a width, a name. An order is one sequence of training batches, shared by all
architectures and sizes; its effect is fixed and the same in every cell, so that two
cells run in the same orders are compared free of it.

Glossary of shapes:
  - n: runs.
  - C: cells.
  - K: orders.
  - W: distinct widths.
  - R: differences between orders that the design can estimate.
"""

from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import functools
import math

import numpy as np

from clinometer.tools.inference import errors


@dataclasses.dataclass(frozen=True)
class Run:
    """One finished run, as inference needs it.

    Attributes:
        name: how messages call the run.
        architecture: the architecture.
        width: d_model.
        order: which sequence of training batches.
        initialisation: which replicate of this cell in this order.
        flops: training FLOPs of the whole run.
        loss: validation loss, nats per token.
        size: the size's name; empty where its width tells it from the others.
    """

    name: str
    architecture: str
    width: int
    order: str
    initialisation: str
    flops: float
    loss: float
    size: str = ""

    @property
    def label(self) -> str:
        """The architecture and size, as messages call them."""
        return f"{self.architecture} {self.size or f'd{self.width}'}"


@dataclasses.dataclass(frozen=True)
class Cell:
    """One architecture at one size.

    Attributes:
        architecture: the architecture.
        width: d_model.
        flops: training FLOPs of one run.
        size: the size's name; may be empty.
    """

    architecture: str
    width: int
    flops: float
    size: str = ""

    @property
    def name(self) -> str:
        """The size, as messages call it."""
        return self.size or f"d{self.width}"

    @property
    def label(self) -> str:
        """The architecture and size, as messages call them."""
        return f"{self.architecture} {self.name}"


@dataclasses.dataclass(frozen=True, eq=False)
class Design:
    """Which runs a study has, without their losses.

    Cells are ordered by architecture in order of first appearance, then by width and
    FLOPs.

    Attributes:
        cells: the cells, [C].
        orders: the data orders, [K].
        cell_of_run: [n], index into cells.
        order_of_run: [n], index into orders.
    """

    cells: tuple[Cell, ...]
    orders: tuple[str, ...]
    cell_of_run: np.ndarray
    order_of_run: np.ndarray

    @functools.cached_property
    def architectures(self) -> tuple[str, ...]:
        """Names, in order of first appearance."""
        return tuple(dict.fromkeys(cell.architecture for cell in self.cells))

    @functools.cached_property
    def widths(self) -> np.ndarray:
        """Distinct widths, rising: [W]."""
        return np.unique([cell.width for cell in self.cells])

    @functools.cached_property
    def width_of_cell(self) -> np.ndarray:
        """Index into `widths`: [C]."""
        return np.searchsorted(self.widths, [cell.width for cell in self.cells])

    @functools.cached_property
    def incidence(self) -> np.ndarray:
        """Number of runs of each cell in each order: [C, K]."""
        table = np.zeros((len(self.cells), len(self.orders)))
        np.add.at(table, (self.cell_of_run, self.order_of_run), 1)
        return table

    @functools.cached_property
    def counts(self) -> np.ndarray:
        """Runs of each cell: [C]."""
        return self.incidence.sum(axis=1)

    @functools.cached_property
    def cell_membership(self) -> np.ndarray:
        """1 where the run belongs to the cell: [n, C]."""
        return np.eye(len(self.cells))[self.cell_of_run]

    @functools.cached_property
    def order_basis(self) -> np.ndarray:
        """Orthonormal basis of the order effects that can be estimated: [K, R].

        Orders compare with each other where a cell has runs in both, or along a chain
        of such cells. Effects sum to zero within each group of connected orders.
        """
        parts = []
        for group in self._groups_of_orders:
            k = len(group)
            if k < 2:
                continue
            # Columns 1.. of the Q of [ones, unit vectors] are orthogonal to ones.
            q, _ = np.linalg.qr(np.column_stack([np.ones(k), np.eye(k)[:, : k - 1]]))
            part = np.zeros((len(self.orders), k - 1))
            part[group] = q[:, 1:]
            parts.append(part)
        return np.hstack(parts) if parts else np.zeros((len(self.orders), 0))

    @functools.cached_property
    def order_offsets(self) -> np.ndarray:
        """Mean order effect in each cell, per basis vector: [C, R]."""
        return self.incidence / self.counts[:, np.newaxis] @ self.order_basis

    @functools.cached_property
    def order_information(self) -> np.ndarray:
        """Information on order effects at each width, for noise of sd 1: [W, R, R]."""
        centered = (
            self.order_basis[self.order_of_run] - (self.order_offsets[self.cell_of_run])
        )
        width = self.width_of_cell[self.cell_of_run]
        products = np.einsum("nr,ns->nrs", centered, centered)
        table = np.zeros((len(self.widths), *products.shape[1:]))
        np.add.at(table, width, products)
        return table

    @functools.cached_property
    def degrees_within(self) -> np.ndarray:
        """Runs less cells at each width, the orders not yet taken off: [W]."""
        table = np.zeros(len(self.widths))
        np.add.at(table, self.width_of_cell, self.counts - 1)
        return table

    @property
    def residual_degrees(self) -> int:
        """Degrees of freedom left for the noise."""
        return round(self.degrees_within.sum()) - self.order_basis.shape[1]

    @functools.cached_property
    def blocks(self) -> np.ndarray:
        """Which group of connected cells each cell belongs to: [C].

        Cells of one group share orders, directly or along a chain. Differences between
        groups hold an unknown difference of orders and cannot be estimated.
        """
        group_of_order = np.zeros(len(self.orders), int)
        for number, group in enumerate(self._groups_of_orders):
            group_of_order[group] = number
        return group_of_order[np.argmax(self.incidence > 0, axis=1)]

    @functools.cached_property
    def _groups_of_orders(self) -> list[list[int]]:
        """Connected orders, as lists of indices."""
        groups: list[set[int]] = []
        for row in self.incidence:
            joined = set(np.flatnonzero(row).tolist())
            apart = []
            for group in groups:
                if group & joined:
                    joined |= group
                else:
                    apart.append(group)
            groups = [*apart, joined]
        return sorted(sorted(group) for group in groups)

    def cells_of(self, architecture: str) -> np.ndarray:
        """Indices of the cells of an architecture, by rising FLOPs.

        Raises:
            InferenceError: there is no such architecture.
        """
        if architecture not in self.architectures:
            raise errors.InferenceError(
                f"architecture is {architecture!r}; accepted: "
                f"{', '.join(self.architectures)}"
            )
        found = [i for i, c in enumerate(self.cells) if c.architecture == architecture]
        return np.array(sorted(found, key=lambda i: self.cells[i].flops))

    def cell(self, architecture: str, width: int) -> int:
        """Index of the cell of an architecture at a width.

        Raises:
            InferenceError: there is no such cell, or several.
        """
        indices = self.cells_of(architecture)
        found = [int(i) for i in indices if self.cells[i].width == width]
        if len(found) == 1:
            return found[0]
        if found:
            raise errors.InferenceError(
                f"width: {', '.join(self.cells[i].label for i in found)} are all "
                f"d{width}; take one of them from `cells_of`"
            )
        accepted = ", ".join(str(self.cells[i].width) for i in indices)
        raise errors.InferenceError(
            f"width is {width}; accepted for {architecture}: {accepted}"
        )

    def flops_of(self, cells: Sequence[int] | np.ndarray) -> np.ndarray:
        """Training FLOPs of the cells with these indices, same shape."""
        return np.array([cell.flops for cell in self.cells])[np.asarray(cells, int)]

    def check_sizes(self, architecture: str, needed: int, purpose: str) -> np.ndarray:
        """`cells_of`, if there are enough of them.

        Args:
            architecture: whose sizes to count.
            needed: the smallest number of sizes that will do.
            purpose: what they are needed for, as the subject of the message.

        Raises:
            InferenceError: there are fewer sizes, or no such architecture.
        """
        indices = self.cells_of(architecture)
        if len(indices) < needed:
            raise errors.InferenceError(
                f"width: {purpose} needs {needed} or more sizes; {architecture} has "
                f"{len(indices)}"
            )
        return indices

    def check_estimable(self, coefficients: np.ndarray) -> None:
        """Raises InferenceError if orders stand between the cells of a contrast.

        Args:
            coefficients: of the cells' means, [..., C].
        """
        for block in range(self.blocks.max() + 1) if self.blocks.max() else ():
            total = np.sum(coefficients[..., self.blocks == block], axis=-1)
            if np.any(np.abs(total) > 1e-9):
                inside = [c for c, b in zip(self.cells, self.blocks) if b == block]
                raise errors.InferenceError(
                    "order: no order connects "
                    + ", ".join(c.label for c in inside)
                    + " with the other cells, so a difference between them cannot be "
                    "told from one between orders; run both in one order"
                )


def from_runs(runs: Sequence[Run]) -> tuple[Design, np.ndarray]:
    """Sorts finished runs into a design.

    Args:
        runs: in any order.

    Returns:
        The design and the losses in nats, float64 [n], both in the order given.

    Raises:
        InferenceError: no runs, two runs of one cell, order and initialisation, FLOPs
            that differ within a cell, or values out of range.
    """
    if not runs:
        raise errors.InferenceError("runs: none given; one or more finished runs")
    _check(runs)
    costs = {_cell_key(run): float(run.flops) for run in runs}
    names = list(dict.fromkeys(run.architecture for run in runs))
    ordered = sorted(
        costs, key=lambda key: (names.index(key[0]), key[1], costs[key], key[2])
    )
    cells = tuple(
        Cell(architecture, width, costs[architecture, width, size], size)
        for architecture, width, size in ordered
    )
    orders = tuple(sorted({run.order for run in runs}))
    place = {key: i for i, key in enumerate(ordered)}
    design = Design(
        cells=cells,
        orders=orders,
        cell_of_run=np.array([place[_cell_key(run)] for run in runs]),
        order_of_run=np.array([orders.index(run.order) for run in runs]),
    )
    return design, np.array([run.loss for run in runs], np.float64)


def planned(
    flops: Mapping[str, Mapping[int, float]],
    orders: Mapping[str, Mapping[int, Sequence[str]]],
    initialisations: Mapping[str, int],
) -> Design:
    """A design that has not run yet.

    Args:
        flops: training FLOPs of a run, by architecture and width.
        orders: the orders that each architecture runs in, by width.
        initialisations: runs in each of these orders, by architecture.

    Raises:
        InferenceError: as `from_runs`, or FLOPs or initialisations are missing.
    """
    runs = []
    for architecture, by_width in orders.items():
        for width, names in by_width.items():
            try:
                cost = flops[architecture][width]
                repeats = initialisations[architecture]
            except KeyError as error:
                raise errors.InferenceError(
                    f"flops or initialisations: none for {architecture} d{width}"
                ) from error
            runs += [
                Run(
                    f"{architecture} d{width} {k}/{i}",
                    architecture,
                    width,
                    k,
                    i,
                    cost,
                    1,
                )
                for k in names
                for i in map(str, range(repeats))
            ]
    return from_runs(runs)[0]


def _cell_key(run: Run) -> tuple[str, int, str]:
    """What runs of one cell share."""
    return run.architecture, run.width, run.size


def _check(runs: Sequence[Run]) -> None:
    """Raises InferenceError for runs that cannot be used together."""
    seen: dict[tuple[tuple[str, int, str], str, str], str] = {}
    costs: dict[tuple[str, int, str], Run] = {}
    for run in runs:
        for field, value, low in (
            ("loss", run.loss, -math.inf),
            ("flops", run.flops, 0),
            ("width", run.width, 0),
        ):
            if not math.isfinite(value) or value <= low:
                accepted = "a finite number" + (" above 0" if low == 0 else "")
                raise errors.InferenceError(
                    f"{field} of {run.name} is {value}; accepted: {accepted}"
                )
        key = (_cell_key(run), run.order, run.initialisation)
        if key in seen:
            raise errors.InferenceError(
                f"{seen[key]} and {run.name} are both {run.label}, "
                f"order {run.order}, initialisation {run.initialisation}: one run "
                "counted twice. Leave one out"
            )
        seen[key] = run.name
        first = costs.setdefault(_cell_key(run), run)
        if not math.isclose(first.flops, run.flops, rel_tol=1e-9):
            raise errors.InferenceError(
                f"flops of {first.name} are {first.flops:g}, of {run.name} "
                f"{run.flops:g}; runs of one architecture and size must cost the same"
            )
