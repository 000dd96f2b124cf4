"""Slack's HTTP surface: chat.postMessage, conversations.history and the upload of files in three steps.

A workspace is told by its bot's token, ``xoxb-<workspace>``; its channels are those that start with ``C`` but for what
was made unusable. Refusals come with status 200 and ``{"ok": false}``, as Slack's do; a channel takes four messages at
once and one a second.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from infra.local.sandbox.faults import Fault
from infra.local.sandbox.provider import Target
from infra.local.sandbox.wire import Reply, Request, json_reply, refusal

BURST = 4
METHODS = (
    "chat.postMessage",
    "conversations.history",
    "files.getUploadURLExternal",
    "files.completeUploadExternal",
)
PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(slots=True)
class Workspace:
    """Messages by channel, oldest first, and files."""

    messages: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    posted_at: dict[str, list[float]] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    """Channel or method -> the error that it is answered with."""


class SlackProvider:
    """All workspaces. ``clock`` gives seconds that only grow."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._workspaces: dict[str, Workspace] = {}

    def target(self, request: Request, rest: tuple[str, ...]) -> Target:
        return Target(_workspace_of(request), "/".join(rest))

    def answer(self, request: Request, rest: tuple[str, ...]) -> tuple[Reply, float]:
        return self._answer(request, rest), 0.0

    def _answer(self, request: Request, rest: tuple[str, ...]) -> Reply:  # noqa: PLR0911 - one end for each method
        if rest[:1] == ("upload",) and len(rest) == 3:  # noqa: PLR2004 - upload, workspace, file
            return self._receive(rest[1], rest[2], request.body)
        if len(rest) != 1 or rest[0] not in METHODS or request.method != "POST":
            return _refused("unknown_method")
        name = _workspace_of(request)
        if not name:
            return _refused("not_authed" if not request.headers.get("authorization") else "invalid_auth")
        workspace = self._workspaces.setdefault(name, Workspace())
        if rest[0] in workspace.errors:
            return _refused(workspace.errors[rest[0]])
        match rest[0]:
            case "chat.postMessage":
                return self._post(workspace, request)
            case "conversations.history":
                return self._history(workspace, request)
            case "files.getUploadURLExternal":
                return self._place(name, workspace, request)
            case _:
                return self._complete(workspace, request)

    def _post(self, workspace: Workspace, request: Request) -> Reply:
        body = _json(request)
        if body is None:
            return _refused("invalid_json")
        channel = str(body.get("channel", ""))
        problem = workspace.errors.get(channel) or _problem(channel, body)
        if problem:
            return _refused(problem)
        wait = self._arrive(workspace, channel)
        if wait:
            limited = {"ok": False, "error": "ratelimited"}
            return json_reply(429, limited, {"retry-after": str(wait)})
        ts = f"{time.time():.6f}"
        message = {"ts": ts, "text": body["text"], "blocks": body.get("blocks", [])}
        message["metadata"] = body.get("metadata")
        workspace.messages.setdefault(channel, []).append(message)
        return json_reply(200, {"ok": True, "channel": channel, "ts": ts, "message": message})

    def _arrive(self, workspace: Workspace, channel: str) -> int:
        """Seconds to wait, 0 where the message may come in."""
        now = self._clock()
        latest = [at for at in workspace.posted_at.get(channel, []) if at > now - BURST]
        if len(latest) >= BURST:
            return 1
        workspace.posted_at[channel] = [*latest, now]
        return 0

    def _history(self, workspace: Workspace, request: Request) -> Reply:
        fields = _form(request)
        channel, limit = fields.get("channel", ""), int(fields.get("limit", "100"))
        if channel in workspace.errors or not channel.startswith("C"):
            return _refused(workspace.errors.get(channel, "channel_not_found"))
        with_metadata = fields.get("include_all_metadata") == "true"
        newest = workspace.messages.get(channel, [])[::-1][:limit]
        shown = [each if with_metadata else {**each, "metadata": None} for each in newest]
        return json_reply(200, {"ok": True, "messages": shown, "has_more": False})

    def _place(self, name: str, workspace: Workspace, request: Request) -> Reply:
        fields = _form(request)
        if not fields.get("filename") or not fields.get("length", "").isdigit():
            return _refused("invalid_arguments")
        file_id = f"F{len(workspace.files) + 1:08d}"
        workspace.files[file_id] = {
            "name": fields["filename"],
            "length": int(fields["length"]),
            "bytes": None,
        }
        url = f"http://{request.headers.get('host', '127.0.0.1')}/slack/upload/{name}/{file_id}"
        return json_reply(200, {"ok": True, "upload_url": url, "file_id": file_id})

    def _receive(self, name: str, file_id: str, content: bytes) -> Reply:
        found = self._workspaces.get(name, Workspace()).files.get(file_id)
        if found is None or len(content) != found["length"]:
            return Reply(400, b"not what was announced", {"content-type": "text/plain"})
        found["bytes"] = content
        return Reply(200, f"OK - {len(content)}".encode(), {"content-type": "text/plain"})

    def _complete(self, workspace: Workspace, request: Request) -> Reply:
        body = _json(request)
        if body is None or not isinstance(body.get("files"), list) or not body["files"]:
            return _refused("invalid_arguments")
        channel = str(body.get("channel_id", ""))
        if channel in workspace.errors or not channel.startswith("C"):
            return _refused(workspace.errors.get(channel, "channel_not_found"))
        for each in body["files"]:
            found = workspace.files.get(str(each.get("id")))
            if found is None or found["bytes"] is None:
                return _refused("file_not_found")
            found.update(title=each.get("title"), channel=channel, comment=body.get("initial_comment"))
        return json_reply(200, {"ok": True, "files": body["files"]})

    def fail(self, fault: Fault, request: Request, rest: tuple[str, ...]) -> Reply:  # noqa: ARG002 - the port's shape
        if fault in {Fault.TOO_MANY, Fault.THROTTLED}:
            return json_reply(429, {"ok": False, "error": "ratelimited"}, {"retry-after": "1"})
        return _refused("internal_error")

    def control(self, request: Request, rest: tuple[str, ...]) -> Reply:
        match (request.method, *rest):
            case ("GET", "workspaces", name):
                return json_reply(200, _document(self._workspaces.get(name, Workspace())))
            case ("GET", "workspaces", name, "files", file_id):
                found = self._workspaces.get(name, Workspace()).files.get(file_id)
                if found is None or found["bytes"] is None:
                    return refusal(404, f"no file {file_id}")
                return Reply(200, found["bytes"], {"content-type": "image/png"})
            case ("PUT", "workspaces", name, "errors"):
                errors = json.loads(request.body)
                if not isinstance(errors, dict):
                    raise ValueError("send an object: channel or method -> error")  # noqa: TRY004 - a bad request
                self._workspaces.setdefault(name, Workspace()).errors = errors
                return json_reply(200, {"errors": errors})
        return refusal(404, "known are GET workspaces/NAME[/files/ID] and PUT workspaces/NAME/errors")

    def summary(self) -> Mapping[str, Mapping[str, Any]]:
        return {
            name: {"messages": sum(map(len, each.messages.values())), "files": len(each.files)}
            for name, each in self._workspaces.items()
        }

    def save(self) -> Any:
        return {name: {"messages": each.messages} for name, each in self._workspaces.items()}

    def load(self, state: Any) -> None:
        self._workspaces = {name: Workspace(messages=each["messages"]) for name, each in state.items()}

    def reset(self) -> None:
        self._workspaces.clear()


def _problem(channel: str, body: Mapping[str, Any]) -> str | None:
    blocks = body.get("blocks", [])
    if not channel.startswith("C"):
        return "channel_not_found"
    if not body.get("text"):
        return "no_text"
    if not isinstance(blocks, list) or len(blocks) > 50:  # noqa: PLR2004 - Slack's own bound
        return "invalid_blocks"
    for block in blocks:
        text = block.get("text") or {}
        longest = {"header": 150, "section": 3000}.get(block.get("type"), 0)
        if not 0 < len(str(text.get("text", ""))) <= longest:
            return "invalid_blocks"
    return None


def _document(workspace: Workspace) -> dict[str, Any]:
    files = {
        file_id: {name: value for name, value in each.items() if name != "bytes"}
        | {"is_png": bool(each["bytes"]) and each["bytes"].startswith(PNG)}
        for file_id, each in workspace.files.items()
    }
    return {"messages": workspace.messages, "files": files}


def _workspace_of(request: Request) -> str:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.removeprefix("xoxb-") if scheme == "Bearer" and token.startswith("xoxb-") else ""


def _json(request: Request) -> dict[str, Any] | None:
    if not request.headers.get("content-type", "").startswith("application/json"):
        return None
    try:
        document = request.document()
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


def _form(request: Request) -> dict[str, str]:
    if not request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        return {}
    return dict(parse_qsl(request.body.decode()))


def _refused(name: str) -> Reply:
    reply = json_reply(200, {"ok": False, "error": name})
    return Reply(reply.status, reply.body, reply.headers, remark=name)
