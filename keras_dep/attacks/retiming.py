"""Moves of the events of one recording in time: their probabilities, and frames within a budget."""

import numpy as np

from keras_dep._internal.types import Array


class Lines:
    """The event lines of a recording, one per pixel and polarity, and the moves along them.

    Arrays of moves are `(lines, T, moves)`: the event of a line at a time step, and the steps by
    which it moves, shortest first. Lines without an event are left out.

    Args:
        frames: float array `(T, ...)`.
        budget: `"jitter"`, `"delay"` or `"count"`, see `keras_dep.attacks.SpikeRetiming`.
        amount: the limit.
    """

    def __init__(self, frames: Array, budget: str, amount: int) -> None:
        self.budget, self.amount = budget, amount
        self.frames = frames
        steps = len(frames)
        lines = frames.reshape(steps, -1).T
        self.used = np.flatnonzero(lines.any(axis=1))
        self.values = lines[self.used]
        self.active = self.values != 0
        reach = min(amount if budget == "jitter" else steps - 1, steps - 1)
        self.shifts = np.array(sorted(range(-reach, reach + 1), key=abs))
        self.targets = np.arange(steps)[:, None] + self.shifts
        inside = (self.targets >= 0) & (self.targets < steps)
        self.allowed = self.active[:, :, None] & inside
        self.targets = np.clip(self.targets, 0, steps - 1)

    def no_preference(self) -> Array:
        """Logits that prefer no move."""
        return np.zeros(self.allowed.shape, "float32")

    def probabilities(self, logits: Array) -> Array:
        """The softmax of logits over the allowed moves of each event; zeros without an event."""
        powers = np.where(self.allowed, np.exp(logits - logits.max(axis=-1, keepdims=True)), 0)
        total = powers.sum(axis=-1, keepdims=True)
        return powers / np.where(total > 0, total, 1)

    def gradient(
        self, logits: Array, slope: Array, capacity_weight: float, budget_weight: float
    ) -> Array:
        """The gradient of the objective in the logits.

        The objective is the loss of the expected frames, linear around frames where its gradient is
        `slope`, less the penalties: the mean over events of `max(occupancy - 1, 0) ** 2`, summed
        over cells, with the expected number of events as occupancy; and `max(cost / amount - 1,
        0)`, with the expected delay or count as cost.

        Args:
            logits: logits of the moves, over the temperature.
            slope: gradient of the loss in the frames, of their shape.
            capacity_weight: weight of the first penalty.
            budget_weight: weight of the second.

        Returns:
            Array like the logits; zeros for moves that are not allowed.
        """
        chances = self.probabilities(logits)
        slope = np.nan_to_num(slope.reshape(len(slope), -1).T[self.used], posinf=0, neginf=0)
        rise = self.values[:, :, None] * slope[:, self.targets]
        excess = np.maximum(self.occupancy(chances) - 1, 0)
        events = max(int(self.active.sum()), 1)
        rise = rise - capacity_weight * 2 * excess[:, self.targets] / events
        if self.budget != "jitter":
            costs, limit = self._costs(), max(self.amount, 1)
            if (chances * costs).sum() > limit:
                rise = rise - budget_weight * costs / limit
        mean = (chances * rise).sum(axis=-1, keepdims=True)
        return chances * (rise - mean)

    def occupancy(self, chances: Array) -> Array:
        """The expected number of events in each cell, `(lines, T)`."""
        found = np.zeros(self.values.shape)
        for move in range(len(self.shifts)):
            # Moves that leave the recording have no chance.
            for step, target in enumerate(self.targets[:, move]):
                found[:, target] += chances[:, step, move]
        return found

    def moved(self, logits: Array) -> Array:
        """The frames after the most probable moves that cells and budget allow.

        Moves are taken in the order of their probabilities, shorter ones first among equals. A cell
        is free when it holds no event, or when its event has moved away.
        """
        chances = self.probabilities(logits)
        places = self._placed(chances)
        sources = np.broadcast_to(np.arange(len(self.frames)), places.shape)
        if self.budget != "jitter":
            places = self._within_budget(chances, places, sources)
        values = np.zeros_like(self.values)
        line, step = np.nonzero(self.active)
        values[line, places[line, step]] = self.values[line, step]
        frames = self.frames.reshape(len(self.frames), -1).copy()
        frames[:, self.used] = values.T
        return frames.reshape(self.frames.shape)

    def _placed(self, chances: Array) -> Array:
        """The time step of each event when the budget is ignored, all lines side by side."""
        count, steps, moves = chances.shape
        scores = np.where(self.allowed, chances, -1).swapaxes(1, 2).reshape(count, -1)
        order = np.argsort(-scores, axis=1, kind="stable")
        places = np.tile(np.arange(steps), (count, 1))
        taken, settled = self.active.copy(), ~self.active
        pending = np.arange(count)
        for rank in range(moves * steps):
            # Each event has found its place long before the last of its moves.
            pending = pending[~settled[pending].all(axis=1)]
            if not len(pending):
                break
            chosen = order[pending, rank]
            move, source = np.divmod(chosen, steps)
            target = self.targets[source, move]
            free = (target == source) | ~taken[pending, target]
            accepted = (scores[pending, chosen] >= 0) & ~settled[pending, source] & free
            line, source, target = pending[accepted], source[accepted], target[accepted]
            taken[line, source] = False
            taken[line, target] = True
            settled[line, source] = True
            places[line, source] = target
        return places

    def _within_budget(self, chances: Array, places: Array, sources: Array) -> Array:
        """Takes back all moves from the first on that exceeds the budget."""
        line, source = np.nonzero(self.active & (places != sources))
        shift = places[line, source] - source
        move = np.argmax(self.shifts == shift[:, None], axis=1)
        order = np.lexsort((line, source, move, -chances[line, source, move]))
        costs = np.abs(shift) if self.budget == "delay" else np.ones_like(shift)
        late = np.cumsum(costs[order]) > self.amount
        kept = places.copy()
        kept[line[order][late], source[order][late]] = source[order][late]
        return kept

    def _costs(self) -> Array:
        """The cost of each move."""
        return np.abs(self.shifts) if self.budget == "delay" else (self.shifts != 0).astype(int)
