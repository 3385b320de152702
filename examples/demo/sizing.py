"""The shop's database is limited to twice the processor time that it was measured to use at rest.

A version bump without care is an outage only where the database has little to spare. How much it
needs differs from machine to machine by several times, so it is measured, and its limit is set while
it runs.
"""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from commands import NAMESPACE, DemoError, Programs
from sampling import Sampler

HEADROOM = 2.0
"""Limit ÷ use at rest."""
_LEAST_MILLICORES = 50
_DATABASE = "postgres"
_MEASURED_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Reading:
    """Processor time that the database had used at a moment, both in seconds."""

    at: float
    used: float


class Meter:
    """Reads the processor time of the database's container from its kubelet."""

    def __init__(self, programs: Programs, sampler: Sampler) -> None:
        pods = programs.read("pods", "-l", f"app.kubernetes.io/name={_DATABASE}")["items"]
        self._pod, self._node = pods[0]["metadata"]["name"], pods[0]["spec"]["nodeName"]
        self._programs, self._sampler = programs, sampler
        self._readings: list[Reading] = []

    async def read(self) -> None:
        """Take a reading, if the kubelet has a new one."""
        summary = await self._sampler.read(f"/api/v1/nodes/{self._node}/proxy/stats/summary")
        found = _reading(summary or {}, self._pod)
        if found is not None and found not in self._readings:
            self._readings.append(found)

    def millicores(self, since: float) -> int | None:
        """Mean use from a moment on; None where too little of that time was read."""
        taken = [reading for reading in self._readings if reading.at >= since]
        if not taken or taken[-1].at - taken[0].at < _MEASURED_SECONDS:
            return None
        first, last = taken[0], taken[-1]
        return round(1000 * (last.used - first.used) / (last.at - first.at))

    def limit(self, millicores: int) -> int:
        """Limit the running database to HEADROOM times that; gives the limit in millicores."""
        allowed = max(_LEAST_MILLICORES, 10 * round(HEADROOM * millicores / 10))
        quantity = f"{allowed}m" if allowed % 1000 else str(allowed // 1000)
        limits = {"name": _DATABASE, "resources": {
            "requests": {"cpu": f"{min(allowed, 200)}m"}, "limits": {"cpu": quantity},
        }}  # fmt: skip
        patch = json.dumps({"spec": {"containers": [limits]}})
        self._programs.kubectl("patch", "pod", self._pod, "--subresource=resize", "-p", patch)
        try:
            self._programs.kubectl(
                "wait", f"pod/{self._pod}", "--timeout=30s",
                f"--for=jsonpath={{.status.containerStatuses[0].resources.limits.cpu}}={quantity}",
            )  # fmt: skip
        except DemoError as error:
            raise DemoError(
                f"The database's limit could not be set while it runs, which Kubernetes 1.33 and "
                f"newer can: {error}"
            ) from error
        return allowed


def _reading(summary: dict[str, Any], pod: str) -> Reading | None:
    for found in summary.get("pods", []):
        about = found["podRef"]
        if (about["namespace"], about["name"]) != (NAMESPACE, pod):
            continue
        for container in found.get("containers", []):
            used = container.get("cpu", {})
            if "usageCoreNanoSeconds" in used:
                at = datetime.fromisoformat(used["time"]).timestamp()
                return Reading(at, used["usageCoreNanoSeconds"] / 1e9)
    return None
