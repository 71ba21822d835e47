from tests.tt.torch_ttnn.emulation.device import MeshDevice as Device
from tests.tt.torch_ttnn.emulation.settings import Arch


def is_wormhole_b0(device: Device | None = None) -> bool:
    return True


def is_blackhole(device: Device | None = None) -> bool:
    return False


__all__ = ["Arch", "Device", "is_blackhole", "is_wormhole_b0"]
