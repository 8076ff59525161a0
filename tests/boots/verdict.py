"""What a boot came to: asserted, and in words for the one that failed."""

from collections.abc import Callable

from deploy.lab.client import Client
from deploy.lab.console import Mark

Boot = Callable[..., list[Client]]


def stages_of(client: Client) -> list[str]:
    """The stages the appliance saw, each at its first time, in order of time."""
    steps = client.story.steps if client.story else ()
    return list(dict.fromkeys(step.stage for step in sorted(steps, key=lambda step: step.at)))


def assert_booted(client: Client, md5: str) -> None:
    """The client read its files, to the bytes that the image on the server holds, and powered off."""
    assert client.succeeded, describe(client)
    assert client.value(Mark.CHECKSUM, "md5") == md5


def describe(client: Client) -> str:
    """Why a client failed, with the end of its console: the message of an assertion."""
    plan = client.plan
    end = "\n".join(client.console.last_lines(25))
    steps = [f"{step.at - client.powered_on:.1f} {step.stage}" for step in (client.story.steps if client.story else ())]
    return f"{plan.name} {plan.firmware}+{plan.root}: {client.failure}; {steps}; console in {client.log}:\n{end}"
