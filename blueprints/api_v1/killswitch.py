"""The kill switch over HTTP (docs/risk.md): an admin key turns it, any key may ask."""

from __future__ import annotations

from typing import Any

from flask import request

from blueprints.api_v1.composites import placed_row
from blueprints.api_v1.endpoint import Call, Routes
from blueprints.api_v1.errors import invalid_fields
from blueprints.api_v1.schemas import EmptyQuery, KillSwitchRequest
from blueprints.api_v1.translate import iso
from blueprints.http import Body
from services.kill_switch import KillState, SquareOff

routes = Routes("Kill switch")


def _state(state: KillState) -> dict[str, Any]:
    return {
        "changed_at": iso(state.changed_at),
        "changed_by": state.changed_by,
        "state": "on" if state.is_on else "off",
    }


def _report(report: SquareOff) -> dict[str, Any]:
    return {
        "account": report.account,
        "cancelled": [placed_row(row) for row in report.cancelled],
        "closed": [placed_row(row) for row in report.closed],
        "done": report.is_done,
        "problems": list(report.problems),
    }


@routes.get("/killswitch", EmptyQuery)
def kill_state(call: Call[EmptyQuery]) -> Body:
    """Whether the kill switch is on, and who turned it last."""
    return {"data": _state(call.gateway.kill_switch.state()), "status": "success"}


@routes.post("/killswitch", KillSwitchRequest, scope="admin")
def turn(call: Call[KillSwitchRequest]) -> Body:
    """Stop all entries in every process, or allow them again; on demand square off everything."""
    if call.body.square_off and call.body.state == "off":
        raise invalid_fields({"square_off": ["Squaring off goes with the state 'on'."]})
    switch, who = call.gateway.kill_switch, call.principal
    whence = {"address": request.remote_addr or "", "request_id": call.request_id}
    on = call.body.state == "on"
    body: dict[str, Any] = {"data": _state(switch.turn(on, who.name, **whence))}
    body["message"] = "The kill switch is on: no new orders." if on else "The kill switch is off."
    body["status"] = "success"
    if call.body.square_off:
        reports = switch.square_off(who, **whence)
        body["data"]["square_off"] = [_report(report) for report in reports]
        if not all(report.is_done for report in reports):
            body["status"] = "partial"
            body["message"] += " Not everything could be squared off: see each account."
    return body
