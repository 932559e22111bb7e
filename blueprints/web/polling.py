"""Parts of pages that are asked for every few seconds, and are left alone while they stay the same.

A part carries the mark of what it shows, and the next request brings it back. While that is still
what there is to show, the answer has no content: what a person reads, selects or is about to click
stays where it is, and a screen reader does not announce an old alarm again.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from flask import Response, render_template, request


def marked(shown: dict[str, Any]) -> dict[str, Any]:
    """The same with its mark as `seen`, which its template puts into a hidden field."""
    text = json.dumps(shown, sort_keys=True, default=str)
    return {**shown, "seen": hashlib.sha256(text.encode()).hexdigest()[:16]}


def part(template: str, shown: dict[str, Any], **rest: Any) -> str | Response:
    """The part, or an answer without content where the page shows it already.

    `rest` is for the template, and no reason to show the part again.
    """
    if request.args.get("seen") == shown["seen"]:
        return Response(status=204)
    return render_template(template, **shown, **rest)
