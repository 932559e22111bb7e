"""Host lookup: which interactive cluster to use, and a key for one login there (§2.3)."""

from __future__ import annotations

from simulator.envelope import Reply, dumps, error
from simulator.exchange import Context
from simulator.routes.table import Table

TABLE = Table()
# Published constants, identical for every customer.
_ACCESS = "2021HostLookUpAccess"


@TABLE.add("POST", "/hostlookup", token=False)
def host_lookup(ctx: Context) -> Reply:
    given = ctx.body.get("accesspassword", ctx.body.get("AccessPassword"))
    settings = ctx.exchange.lookup
    if given != _ACCESS or settings.fail:
        return error("e-hostlookup-0001", "Host lookup failed", {})
    root = settings.root or f"http://{ctx.host}"
    connection = {
        "cluster": f"{root}/{settings.cluster}hostlookup",
        "interactive": f"{root}/{settings.cluster}interactive",
        "relative": f"/{settings.cluster}hostlookup",
        "bare": root.split("://", 1)[-1],
        "padded": f" `{root}/{settings.cluster}hostlookup` ",
    }[settings.form]
    return Reply(
        200,
        dumps(
            {
                "type": True,
                "code": "hostlookup",
                "description": "Host lookup successful",
                "result": {
                    "uniqueKey": ctx.exchange.new_unique_key(),
                    "connectionString": connection,
                    "timeStamp": "0",
                    "remarks": "",
                },
            }
        ),
    )
