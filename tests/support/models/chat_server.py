"""A little OpenAI-compatible server on 127.0.0.1 that answers as a test tells it to, and notes what it was asked."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Asked:
    """One request."""

    body: dict[str, Any]
    headers: Mapping[str, str]
    """With their names in lower case."""
    when: float

    @property
    def prompt(self) -> str:
        """The question, which is the last part of the message."""
        return self.body["messages"][0]["content"][-1]["text"]


@dataclass
class ChatServer:
    """What it was asked so far; `answer` gives (status, headers, body) for a request."""

    answer: Callable[[Asked], tuple[int, dict[str, str], Any]]
    asked: list[Asked] = field(default_factory=list)
    url: str = ""


def completion(text: str | None, *, finish_reason: str = "stop", **message: Any) -> tuple[int, dict[str, str], Any]:
    """A chat completion."""
    usage = {"prompt_tokens": 50, "completion_tokens": len((text or "").split()), "total_tokens": 99}
    said = {"role": "assistant", "content": text, **message}
    choice = {"index": 0, "message": said, "finish_reason": finish_reason}
    body = {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}
    return 200, {}, body


def refusal(status: int, message: str = "no", **headers: str) -> tuple[int, dict[str, str], Any]:
    """An error as OpenAI's servers put it."""
    return status, headers, {"error": {"message": message, "type": "error", "code": None}}


@contextmanager
def serve(answer: Callable[[Asked], tuple[int, dict[str, str], Any]]) -> Iterator[ChatServer]:
    """Run the server in threads until the block ends."""
    state = ChatServer(answer)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked = Asked(body, {name.lower(): value for name, value in self.headers.items()}, time.monotonic())
            state.asked.append(asked)
            status, headers, reply = (
                answer(asked) if self.path == "/v1/chat/completions" else refusal(404, "no such page")
            )
            data = reply if isinstance(reply, bytes) else json.dumps(reply).encode()
            self.send_response(status)
            for name, value in {"Content-Type": "application/json", **headers}.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.handle_error = lambda request, client_address: None  # who asked may have gone away
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
