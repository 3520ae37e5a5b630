"""Draws a fleet again and again, until Ctrl-C."""

import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from drydock.monitor.cluster_watch import ClusterWatch
from drydock.monitor.fleet_view import FleetView, read_fleet, region_of
from drydock.monitor.screen import render_screen
from drydock.scheduling.prices import Prices, load_prices

if TYPE_CHECKING:
    from drydock.progress import Progress
    from drydock.project import Project


@dataclass(frozen=True)
class Follower:
    """A cluster that is watched, with the prices of its region.

    Args:
        watch: of the cluster.
        prices: None where its nodes are in no region.
    """

    watch: ClusterWatch
    prices: Prices | None

    @classmethod
    def of(cls, project: "Project", watch: ClusterWatch, progress: "Progress", spot_share: float) -> "Follower":
        """With the prices of the region that the nodes name.

        Raises:
            ToolchainError: the list of prices cannot be had.
        """
        region = region_of(watch.scene)
        return cls(watch, load_prices(project, progress, region, spot_share=spot_share) if region else None)

    def fleet(self) -> FleetView:
        """The cluster as it is now."""
        self.watch.refresh()
        return read_fleet(self.watch.scene, self.prices, time.time())

    def notes(self) -> tuple[str, ...]:
        """What is missing from the view, and why."""
        unread = ", ".join(sorted(self.watch.unread))
        return (
            *((f"Not shown, because this user may not list them: {unread}.",) if unread else ()),
            *((f"Nothing new is heard: {self.watch.failure}.",) if self.watch.failure else ()),
        )


def show(follower: Follower, interval: float) -> None:
    """Draw on the whole terminal every so many seconds until Ctrl-C; what stood there before comes back."""
    from rich.console import Console
    from rich.live import Live

    console = Console(highlight=False)
    follower.watch.start()
    with suppress(KeyboardInterrupt), Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            live.update(render_screen(follower.fleet(), follower.notes(), *console.size), refresh=True)
            time.sleep(interval)
