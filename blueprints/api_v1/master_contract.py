"""Master contracts: start a download, and look at its progress and history (design §11)."""

from __future__ import annotations

from typing import Any

from blueprints.api_v1.endpoint import Answer, Call, Routes
from blueprints.api_v1.errors import Rejected
from blueprints.api_v1.schemas import EmptyQuery, MasterContractRequest
from blueprints.api_v1.translate import iso
from blueprints.http import Body, problem
from services.master_contract import Job

routes = Routes("Master contract")


def _known_broker(call: Call[Any], *, enabled: bool = False) -> str:
    name = call.path["broker"]
    if name not in call.gateway.registry.names():
        raise Rejected(404, "unknown_broker", f"There is no broker named '{name[:64]}'.")
    if enabled:
        on, why = call.gateway.accounts.is_broker_enabled(name)
        if not on:
            raise Rejected(409, "broker_disabled", f"The broker '{name}' is disabled: {why}")
    return name


def job_row(job: Job) -> dict[str, Any]:
    """A download of the master contract: its state, progress and report."""
    return {
        "finished_at": iso(job.finished_at),
        "job": job.id,
        "progress": job.progress,
        "report": job.report,
        "started_at": iso(job.started_at),
        "state": job.state,
    }


@routes.add("POST", "/master_contract/<broker>", MasterContractRequest, scope="admin")
def download(call: Call[MasterContractRequest]) -> Body | Answer:
    """Download the master contract of a broker; one at a time, a running one is answered."""
    name = _known_broker(call, enabled=True)
    service = call.gateway.master_contract
    job = service.start(name, call.principal.name, force=call.body.force)
    if not call.body.wait:
        words = f"The download of the master contract of '{name}' is {job.state}."
        return Answer(
            {"data": {"job": job.id, "state": job.state}, "message": words, "status": "success"},
            202,
        )
    done = service.wait(job.id, timeout=25.0)
    if done.state == "done":
        return {"data": job_row(done), "message": "Master contract loaded.", "status": "success"}
    if done.state == "failed":
        reason = str((done.report or {}).get("error", "see the job's report"))
        words = f"The download of the master contract failed: {reason}"
        return Answer(problem("master_contract_failed", words, data=job_row(done)), 502)
    return Answer({"data": job_row(done), "message": "Still running.", "status": "success"}, 202)


@routes.add("GET", "/master_contract/<broker>", EmptyQuery)
def contract_status(call: Call[EmptyQuery]) -> Body:
    """State and history of a broker's master contract."""
    name = _known_broker(call)
    status = call.gateway.master_contract.status(name)
    return {
        "data": {
            "history": [job_row(job) for job in call.gateway.master_contract.history(name)],
            "rows": status.rows,
            "state": status.state,
            "updated_at": iso(status.updated_at),
        },
        "status": "success",
    }


@routes.add("GET", "/master_contract/<broker>/<job>", EmptyQuery)
def contract_job(call: Call[EmptyQuery]) -> Body:
    """One download of a master contract, with its progress."""
    name = _known_broker(call)
    for job in call.gateway.master_contract.history(name):
        if str(job.id) == call.path["job"]:
            return {"data": job_row(job), "status": "success"}
    raise Rejected(404, "not_found", f"The broker '{name}' has no such download.")
