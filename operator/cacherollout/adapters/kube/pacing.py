"""A token bucket: the operator's requests to the API server are bounded, whatever it decides."""

import asyncio


class Pace:
    """Lets `per_second` through on average and `burst` at once; waiters go in order."""

    def __init__(self, per_second: float, burst: int) -> None:
        self._per_second = per_second
        self._burst = float(burst)
        self._tokens = float(burst)
        self._counted_at: float | None = None

    async def take(self) -> None:
        """Wait for one's turn."""
        now = asyncio.get_running_loop().time()
        if self._counted_at is not None:
            earned = (now - self._counted_at) * self._per_second
            self._tokens = min(self._burst, self._tokens + earned)
        self._counted_at = now
        # Going below zero reserves the turn, so that nobody who comes later overtakes.
        self._tokens -= 1.0
        if self._tokens < 0.0:
            await asyncio.sleep(-self._tokens / self._per_second)
