"""Two gateways' ends of the channel of placements."""

from __future__ import annotations

from orchestrator.registry.config import RegistryConfig
from orchestrator.registry.redis_announcer import RedisAnnouncer
from protos.registry import Announcement
from tests.conformance.registry.test_announcements import PLACED
from tests.integration.control.until import until


async def assert_heard(url: str, config: RegistryConfig) -> None:
    """What one says at this URL comes to the other one."""
    speaker, listener = (RedisAnnouncer.connect(url, config) for _ in range(2))
    heard: list[Announcement] = []
    listener.listen(heard.append)
    speaker.listen(lambda _: None)

    def is_heard() -> bool:
        speaker.announce(PLACED)
        return PLACED in heard

    await until(is_heard, "the other one hears")
    await speaker.close()
    await listener.close()
