"""Events of the platform's other services that start runs, as they publish them: `source` an object, `version` "1.0", the
tenant here or there."""

import uuid

from invariants import Trigger

TENANTS = [f"00000000-0000-4000-8000-{number:012}" for number in (1, 2, 3)]
INSTANCE = {"service": "integration-manager", "instance": "im-7"}


def _uuid(chance):
    return str(uuid.UUID(int=chance.getrandbits(128), version=4))


def trigger(chance, number, opportunity=None, tenant=None):
    """A message for the producer and what it means. Its form varies with `number`."""
    tenant = tenant or TENANTS[number % len(TENANTS)]
    opportunity = opportunity or f"OPP-{number:05}"
    fields = {"name": f"Deal {number}", "stage": chance.choice(["Prospecting", "Proposal", "Negotiation"]),
              "amount": chance.randint(1_000, 90_000), "currency": "EUR", "owner": "ann", "createdOn": "2026-02-01"}
    is_shard = number % 4 == 3
    event = {"id": _uuid(chance), "type": "shard.updated" if is_shard else "integration.opportunity.updated",
             "version": "1.0", "timestamp": "2026-03-02T09:30:00.000Z", "source": INSTANCE}
    if is_shard:
        event["data"] = {"shardId": opportunity, "shardTypeName" if number % 8 == 3 else "shardType": "opportunity",
                         "structuredData": fields}
    else:
        event["data"] = {"opportunityId": opportunity, "changes": fields, "source": "salesforce"}
    if number % 2:
        event["data"]["tenantId"] = tenant
    else:
        event["tenantId"] = tenant
    return {"routingKey": event["type"], "event": event}, Trigger(event["id"], tenant, opportunity)


def triggers(chance, count, repeated=0.1):
    """`count` of them; a share of `repeated` is for an opportunity of one of the five before, whose run may still be active."""
    messages, meant = [], []
    for number in range(count):
        before = chance.choice(meant[-5:]) if meant and chance.random() < repeated else None
        message, one = trigger(chance, number, before and before.opportunity, before and before.tenant)
        messages.append(message)
        meant.append(one)
    return messages, meant
