"""The machines of the shop."""

from __future__ import annotations

from dataclasses import replace

from opencost_kusto.emulator.opencost.model import Life, Node


class Nodes:
    """The node pools; the second machine of `apps` joins with the deploy, the second of `spot` after the eviction."""

    def __init__(self, deploy: float, eviction: float) -> None:
        self.system = Node("aks-system-31415926-vmss000000", "system", "Standard_D4s_v5", 1, 16767590400)
        self.apps = Node("aks-apps-27182818-vmss000000", "apps", "Standard_E4s_v5", 2, 33669570560)
        self.more_apps = replace(self.apps, name="aks-apps-27182818-vmss000001", life=Life(deploy + 240))
        self.gpu = Node("aks-gpu-14142135-vmss000002", "gpu", "Standard_NC4as_T4_v3", 2, 29452513280, gpu=1)
        spot = Node("aks-spot-16180339-vmss00000b", "spot", "Standard_D4s_v5", 3, 16767590400, spot=True)
        self.spot = (
            replace(spot, life=Life(end=eviction)),
            replace(spot, name="aks-spot-16180339-vmss00000c", life=Life(eviction + 1080)),
        )
        self.all = (self.system, self.apps, self.more_apps, self.gpu, *self.spot)
