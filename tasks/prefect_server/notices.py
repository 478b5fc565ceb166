"""Who is told of runs that went wrong: an address that Prefect's server keeps, and an automation that sends.

The server sends, not a worker: a machine that died cannot say so. The block is Prefect's own, so that a
server needs nothing of ours: one of ours would be found by an entry point, and a server imports those from
the folder that it was started in first, where a `tasks` may be anybody's.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from apprise import Apprise
from prefect.automations import AutomationCore, EventTrigger, Posture, SendNotification
from prefect.blocks.notifications import SlackWebhook
from prefect.client.orchestration import PrefectClient
from pydantic import SecretStr

from storage.errors import UsageError

EACH_OF_OURS: dict[str, Any] = {
    "match": {"prefect.resource.id": ["prefect.flow-run.*"]},
    "match_related": {
        "prefect.resource.id": "prefect.tag.chromaflow",
        "prefect.resource.role": "tag",
    },
    "for_each": {"prefect.resource.id"},
    "threshold": 1,
}
"""Of a trigger that looks at each run of a deployment of ours, whose tag all have, and at no others."""
QUARANTINED, FAILED = "chromaflow.photos-quarantined", "chromaflow.run-failed"
"""Events of a run itself: it finished, but left photos in quarantine; it ends with an error."""
NOTICES = "chromaflow: tell of runs that fail, crash or leave photos in quarantine"
_BLOCK = "chromaflow-notice"
_TOLD = ("prefect.flow-run.Failed", "prefect.flow-run.Crashed", "prefect.flow-run.TimedOut")
_ONCE_IN = timedelta(minutes=10)
"""A run is told of once, by what the server hears first. It hears twice of a run that fails, from the run
and from Prefect: while its SQLite is locked it loses what it hears."""
_SUBJECT = (
    "Chromaflow: {% if event.event == '"
    + QUARANTINED
    + "' %}{{ event.payload.photos }} in quarantine"
    "{% elif event.event == '" + FAILED + "' %}run failed"
    "{% else %}run {{ flow_run.state.name | lower }}{% endif %} "
    "({{ deployment.name if deployment else flow_run.name }})"
)
_BODY = (
    "Run: {{ flow_run.name }}\n"
    "{% if event.payload.said %}{{ event.payload.said }}\n"
    "{% elif flow_run.state.message %}{{ flow_run.state.message }}\n{% endif %}"
    "{% set page = flow_run | ui_url %}{% if page %}{{ page }}\n{% endif %}"
)


def checked_addresses(addresses: Sequence[str]) -> list[str]:
    """Addresses as Apprise has them: a web address becomes a webhook that gets JSON.

    Raises UsageError for one that Apprise does not know, without repeating its password.
    """
    wanted = [re.sub(r"^http(s?)://", r"json\1://", address.strip()) for address in addresses]
    for address in filter(None, wanted):
        if not Apprise().add(address):
            kind = address.partition(":")[0]
            raise UsageError(
                "Expected an address for --notify such as https://HOST/PATH (a webhook) or "
                f"mailtos://USER:PASSWORD@SERVER?to=SOMEBODY, got one of kind {kind!r} that is not "
                "understood. https://appriseit.com lists all kinds."
            )
    return [address for address in wanted if address]


def automation(block_id: Any) -> AutomationCore:
    """What sends a notice for each run of a deployment of ours that went wrong."""
    trigger = EventTrigger(
        expect={*_TOLD, QUARANTINED, FAILED},
        posture=Posture.Reactive,
        within=_ONCE_IN,
        **EACH_OF_OURS,
    )
    send = SendNotification(block_document_id=block_id, subject=_SUBJECT, body=_BODY)
    return AutomationCore(
        name=NOTICES,
        description="`chromaflow deploy --notify ADDRESS` changes whom, `--notify ''` ends it.",
        trigger=trigger,
        actions=[send],
    )


async def keep_addresses(client: PrefectClient, addresses: Sequence[str]) -> tuple[Any, bool]:
    """Have the server keep the addresses, as a secret. Returns their id there, and whether they changed."""
    wanted = " ".join(addresses)
    try:  # of all Prefect's blocks the one that gives Apprise any address as it is
        there = await SlackWebhook.aload(_BLOCK, client=client)
    except ValueError:
        there = None
    if there is not None and there.url.get_secret_value() == wanted:
        return there._block_document_id, False
    block = SlackWebhook(url=SecretStr(wanted))
    return await block.asave(_BLOCK, overwrite=True, client=client), True
