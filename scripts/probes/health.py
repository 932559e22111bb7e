"""`health_check.sh`: one look at a gateway, for people, cron and load balancers.

Exit status: 0 well, 1 degraded (it serves, but something is wrong), 2 it does not serve.
"""

from __future__ import annotations

from scripts.rescue.http import Client

WELL, DEGRADED, DOWN = 0, 1, 2


def look(client: Client, *, quiet: bool = False) -> int:
    """Show what `/health` says; the exit status."""
    try:
        status, answer = client.get("/health")
    except OSError as error:
        print(f"{client.url} does not answer: {error}")
        return DOWN
    if status == 403:
        print(f"{client.url} tells its health on its own host, or with an API key: --api-key-file")
        return DOWN
    if not isinstance(answer, dict) or "status" not in answer:
        print(f"{client.url}/health answers {status}, and not as a gateway does")
        return DOWN
    if not quiet:
        print(f"{client.url}: {answer['status']}, version {answer['version']}, "
              f"{'SANDBOX, ' if answer.get('sandbox') else ''}{answer['timestamp']}")
        for name, detail in sorted(answer.get("checks", {}).items()):
            words = ", ".join(f"{key} {value}" for key, value in detail.items())
            print(f"  {name:<24} {words}")
    return {"ok": WELL, "degraded": DEGRADED}.get(answer["status"], DOWN)
