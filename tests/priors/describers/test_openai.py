"""A server in place of the model: what it is asked, whose fault an error is, and that the key stays secret."""

import base64
import email.utils
import io
import json
import sys
import threading
import time
from collections import Counter
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cache.annotations import Dataset, VideoEntry
from priors.describers.choice import make_describer
from priors.describers.openai import OpenAIDescriber
from priors.describers.options import GenerationRecipe, ServerRecipe
from priors.describers.pacing import retry_after
from priors.describers.protocol import Failure, Reply, Request, answers
from priors.describers.recipe import DescriberRecipe, describer_identity
from priors.pretrained.model_files import ModelError
from priors.run.recipe import DataRecipe, PriorsRecipe, RunRecipe
from priors.stage import make_priors
from priors.video.decode_pool import DecodeRecipe
from priors.video.frames import FramesRecipe
from priors.words.glove import GloveRecipe
from tests.support.models.chat_server import Asked, ChatServer, completion, refusal, serve
from tests.support.models.family_checks import noise
from tests.support.videos.videos import write_video

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])
KEY = "sk-very-secret-0123456789"


def _recipe(server: ChatServer, **options: Any) -> DescriberRecipe:
    chosen = ServerRecipe(url=server.url, backoff_seconds=0.02, **options)
    return DescriberRecipe(model="owner/video-model", revision="r7", server=chosen)


def _describe(describer: OpenAIDescriber, prompts: list[str]) -> list[Reply | Failure]:
    return describer.describe(describer.prepare([Request(noise(0), prompt, 12) for prompt in prompts]))


def _echo(asked: Asked) -> tuple[int, dict[str, str], Any]:
    return completion(f"seen: {asked.prompt}")


def test_what_a_server_is_asked():
    """The frames as JPEG in order, each with its time; the prompt as it is recorded; greedy; the limit."""
    with serve(_echo) as server:
        describer = make_describer(_recipe(server))
        (reply,) = answers(describer, [Request(noise(0), "Describe Dive.", 12)])
    assert reply == Reply("seen: Describe Dive.", 50, 3, "eos")
    assert (describer.model_id, describer.model_revision) == ("owner/video-model", "r7")
    body = server.asked[0].body
    assert {name: value for name, value in body.items() if name != "messages"} == {
        "model": "owner/video-model",
        "temperature": 0.0,
        "top_p": 1.0,
        "seed": 0,
        "max_tokens": 12,
    }
    parts = body["messages"][0]["content"]
    assert [part["text"] for part in parts if part["type"] == "text"] == [
        "4 frames of one video of 10.0 seconds, in order.",
        *(f"At {second:.1f} seconds:" for second in (1.25, 3.75, 6.25, 8.75)),
        "Describe Dive.",
    ]
    pictures = [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]
    for url, rgb in zip(pictures, noise(0).rgb, strict=True):
        kind, data = url.split(",")
        assert kind == "data:image/jpeg;base64"
        shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
        assert shown.shape == rgb.shape
        assert np.corrcoef(shown.ravel(), rgb.ravel())[0, 1] > 0.5


def test_settings_reach_the_server():
    """Those of a second question, the other name of the limit, and no times where they are not wanted."""
    with serve(_echo) as server:
        recipe = _recipe(server, say_times=False, limit="max_completion_tokens")
        retry = GenerationRecipe(temperature=0.5, top_p=0.8, seed=4, repetition_penalty=1.3)
        describer = make_describer(recipe.model_copy(update={"retry": retry}))
        answers(describer, [Request(noise(0), "Describe.", 24, again=True)])
    body = server.asked[0].body
    assert (body["temperature"], body["top_p"], body["seed"], body["repetition_penalty"]) == (0.5, 0.8, 4, 1.3)
    assert body["max_completion_tokens"] == 24
    assert "max_tokens" not in body
    assert [part["type"] for part in body["messages"][0]["content"]] == ["image_url"] * 4 + ["text"]


def test_how_an_answer_ended():
    """Ended by itself, cut, filtered, refused, or something that is no end of a description."""
    said = {
        "stops": completion(" a dive \n"),
        "cut": completion("a dive and", finish_reason="length"),
        "filtered": completion("", finish_reason="content_filter"),
        "refused": completion(None, refusal="I cannot help with that."),
        "calls": completion(None, finish_reason="tool_calls"),
        "empty": completion(None),
        "uncounted": (200, {}, {**completion("x")[2], "usage": None}),
    }
    with serve(lambda asked: said[asked.prompt]) as server:
        found = dict(zip(said, _describe(OpenAIDescriber(_recipe(server)), list(said)), strict=True))
    assert found["stops"] == Reply("a dive", 50, 2, "eos")
    assert found["cut"] == Reply("a dive and", 50, 3, "length")
    assert found["empty"] == Reply("", 50, 0, "eos")
    for name, reason in {
        "filtered": "content filter",
        "refused": "the model refuses: I cannot help with that.",
        "calls": "'tool_calls'",
        "uncounted": "how many tokens",
    }.items():
        answer = found[name]
        assert isinstance(answer, Failure)
        assert reason in answer.reason


def test_one_bad_request_leaves_the_others_alone():
    """Refused by the server, or by us because the class name speaks for the chat: each fails by itself, asked once."""

    def answer(asked: Asked) -> tuple[int, dict[str, str], Any]:
        return refusal(400, "image too large") if "bad" in asked.prompt else _echo(asked)

    with serve(answer) as server:
        prompts = ["one", "bad", "two", "<|im_end|>three", "＜|im_end|＞", "[/INST]", "a\nb", "50% {{x}} <b> 跳水"]
        found = _describe(OpenAIDescriber(_recipe(server, parallel=3)), prompts)
    replies = [answer.text if isinstance(answer, Reply) else None for answer in found]
    assert replies == ["seen: one", None, "seen: two", None, None, None, None, "seen: 50% {{x}} <b> 跳水"]
    assert found[1] == Failure("the server answers 400: image too large")
    assert all("control" in one.reason for one in found[3:7] if isinstance(one, Failure))
    assert Counter(asked.prompt for asked in server.asked) == Counter(["one", "bad", "two", "50% {{x}} <b> 跳水"])


def test_a_busy_or_faulty_server_is_asked_again():
    """429 and 5xx, as often as allowed, with growing waits; then the row fails and the others stand."""
    times: dict[str, int] = Counter()
    lock = threading.Lock()

    def answer(asked: Asked) -> tuple[int, dict[str, str], Any]:
        with lock:
            times[asked.prompt] += 1
        if asked.prompt == "never":
            return refusal(503, "overloaded")
        return refusal(429) if asked.prompt == "later" and times["later"] < 3 else _echo(asked)

    with serve(answer) as server:
        found = _describe(OpenAIDescriber(_recipe(server, attempts=4)), ["now", "later", "never"])
    assert [type(one) for one in found] == [Reply, Reply, Failure]
    assert "503" in found[2].reason  # pyright: ignore[reportAttributeAccessIssue]
    assert "(4 attempts)" in found[2].reason  # pyright: ignore[reportAttributeAccessIssue]
    assert times == {"now": 1, "later": 3, "never": 4}
    asked = [one.when for one in server.asked if one.prompt == "never"]
    waits = np.diff(asked)
    assert (waits >= [0.02, 0.04, 0.08]).all()


def test_the_wait_that_a_server_asks_for_is_kept_by_all():
    """Retry-After in seconds or as a date; no other request goes out meanwhile."""
    first = threading.Lock()

    def answer(asked: Asked) -> tuple[int, dict[str, str], Any]:
        if first.acquire(blocking=False):
            return refusal(429, Retry_After="0.8")
        time.sleep(0.4)  # so that whoever is under way now comes back after the refusal was read
        return _echo(asked)

    with serve(answer) as server:
        _describe(OpenAIDescriber(_recipe(server, parallel=2)), list("abcdef"))
    times = [one.when - server.asked[0].when for one in server.asked]
    assert len(times) == 7
    assert sum(time < 0.75 for time in times) <= 2  # the one that was told, and one that was under way
    soon = email.utils.formatdate(time.time() + 30, usegmt=True)
    assert retry_after({"retry-after": soon}) == pytest.approx(30, abs=2)
    assert retry_after({"retry-after": "7"}) == 7
    assert [retry_after({"retry-after": odd}) for odd in ("", "soon", "nan")] == [None, None, None]
    assert retry_after({}) is None


def test_no_more_than_so_many_a_minute():
    """Evenly spaced, over all threads and attempts."""
    with serve(_echo) as server:
        _describe(OpenAIDescriber(_recipe(server, per_minute=1200, parallel=6)), [str(k) for k in range(6)])
    sent = sorted(one.when for one in server.asked)
    assert sent[-1] - sent[0] >= 5 * 0.05 - 0.03


def test_several_at_once_in_order():
    """As many as `parallel` are under way together; answers stay in the order of the requests."""
    gate = threading.Barrier(4, timeout=10)

    def answer(asked: Asked) -> tuple[int, dict[str, str], Any]:
        gate.wait()
        return _echo(asked)

    with serve(answer) as server:
        found = _describe(OpenAIDescriber(_recipe(server, parallel=4)), list("abcdefgh"))
    assert [one.text for one in found if isinstance(one, Reply)] == [f"seen: {name}" for name in "abcdefgh"]


@pytest.mark.parametrize(("status", "told"), [(401, "the key"), (403, "rights"), (404, "name of the model")])
def test_what_concerns_every_request_stops_the_run(status, told):
    """At once, with what to look at; not as a row."""
    with serve(lambda asked: refusal(status)) as server:
        describer = OpenAIDescriber(_recipe(server, parallel=1))
        with pytest.raises(ModelError, match=rf"describer\.server: http://127.* answers {status} .*{told}"):
            _describe(describer, ["a", "b", "c"])
    assert len(server.asked) == 1


def test_answers_given_before_the_stop_are_kept():
    """The batch in which the key expires returns what it has; the next one stops."""

    def answer(asked: Asked) -> tuple[int, dict[str, str], Any]:
        return _echo(asked) if asked.prompt == "a" else refusal(401)

    with serve(answer) as server:
        describer = OpenAIDescriber(_recipe(server, parallel=1))
        found = _describe(describer, ["a", "b", "c"])
        assert [type(one) for one in found] == [Reply, Failure, Failure]
        with pytest.raises(ModelError, match="answers 401"):
            _describe(describer, ["d"])
    assert [one.prompt for one in server.asked] == ["a", "b"]


def test_nobody_there():
    """A refused connection is the run's affair, at once if nothing was ever answered, else after all attempts."""
    with serve(_echo) as server:
        recipe = _recipe(server, attempts=3)
        reached = OpenAIDescriber(recipe)
        _describe(reached, ["a"])
    started = time.monotonic()
    with pytest.raises(ModelError, match=r"describer\.server\.url: http://127\.0\.0\.1.*cannot be reached"):
        _describe(OpenAIDescriber(recipe), ["a"])
    assert time.monotonic() - started < 5
    with pytest.raises(ModelError, match="cannot be reached"):
        _describe(reached, ["a"])


@pytest.mark.parametrize("body", [b"<html>hello</html>", b'{"choices": [', b"[]", b'{"choices": []}', b'"text"'])
def test_an_answer_that_is_none_fails_the_row(body):
    """HTML of a proxy, JSON cut short, JSON of something else: tried again, then told."""
    with serve(lambda asked: (200, {}, body)) as server:
        (found,) = _describe(OpenAIDescriber(_recipe(server, attempts=2)), ["a"])
    assert isinstance(found, Failure)
    assert "the server's answer" in found.reason
    assert found.reason.endswith("(2 attempts)")


def test_a_server_that_is_too_slow():
    """Time running out counts as an attempt."""

    def answer(asked: Asked) -> tuple[int, dict[str, str], Any]:
        time.sleep(0.5)
        return _echo(asked)

    with serve(answer) as server:
        (found,) = _describe(OpenAIDescriber(_recipe(server, attempts=2, timeout_seconds=0.1)), ["a"])
    assert found == Failure("no answer within 0.1 s (2 attempts)")


def test_the_key_is_sent_and_stands_nowhere_else(monkeypatch, caplog):
    """Not in a message although the server repeats it, nor in logs, representations or what is recorded."""
    monkeypatch.setenv("MY_KEY", KEY)
    caplog.set_level("DEBUG")
    with serve(lambda asked: refusal(401, f"wrong key {KEY}")) as server:
        describer = OpenAIDescriber(_recipe(server, key_variable="MY_KEY"))
        with pytest.raises(ModelError) as caught:
            _describe(describer, ["a"])
        assert server.asked[0].headers["authorization"] == f"Bearer {KEY}"
        chain = [caught.value, caught.value.__cause__]
        assert "wrong key (key)" in str(caught.value)
        shown = [repr(describer), str(describer.recipe), *map(str, chain), *map(repr, chain), caplog.text]
        assert not any(KEY in text for text in shown)
    with serve(lambda asked: refusal(400, f"bad header {KEY}")) as server:
        (found,) = _describe(OpenAIDescriber(_recipe(server, key_variable="MY_KEY")), ["a"])
    assert KEY not in str(found)


def test_without_a_variable_no_key_is_sent(monkeypatch):
    """Least of all one that happens to be in the environment, to whatever server this is."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with serve(_echo) as server:
        _describe(OpenAIDescriber(_recipe(server)), ["a"])
    assert "authorization" not in server.asked[0].headers
    assert KEY not in str(server.asked[0].headers)


def test_what_is_wrong_before_anything_is_sent(monkeypatch):
    """The package, the address, the variable."""
    monkeypatch.delenv("MY_KEY", raising=False)
    for server, told in (
        (ServerRecipe(url="127.0.0.1:8000"), r"expected an address such as http"),
        (ServerRecipe(url="http://me:secret@host/v1"), r"holds a user or password"),
        (ServerRecipe(url="http://127.0.0.1/v1", key_variable="MY_KEY"), "the environment variable MY_KEY is not set"),
    ):
        with pytest.raises(ModelError, match=told) as caught:
            make_describer(DescriberRecipe(server=server))
        assert "secret" not in str(caught.value)
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(ModelError, match="run `pip install openai`"):
        make_describer(DescriberRecipe(server=ServerRecipe(url="http://127.0.0.1/v1")))


def test_the_identity_of_a_served_model():
    """What the recipe states, since a server does not tell which weights it has; nobody is asked."""
    server = ServerRecipe(url="http://127.0.0.1:9/v1")
    assert describer_identity(DescriberRecipe(model="m", server=server)) == ("m", "unstated")
    assert describer_identity(DescriberRecipe(model="m", revision="2024-05", server=server)) == ("m", "2024-05")


def test_the_stage_runs_through_a_server(tmp_path):
    """From videos to rows: who answered, with which settings; a second run asks nobody."""
    entries = []
    for name in ("a", "b"):
        path = write_video(tmp_path / "videos" / f"{name}.mp4", 10, fps=10)
        entries.append(VideoEntry(name, "training", None, ("Dive",), (), path))
    Dataset("pool", ("Dive",), tuple(entries)).save(tmp_path / "annotations.json")
    (tmp_path / "words.txt").write_text("a 1 0\nperson 0 1\n")
    with serve(lambda asked: completion("A person dives.")) as server:
        recipe = PriorsRecipe(
            data=DataRecipe(folder=tmp_path),
            describer=_recipe(server),
            frames=FramesRecipe(count=3),
            glove=GloveRecipe(path=tmp_path / "words.txt"),
            run=RunRecipe(decode=DecodeRecipe(workers=0)),
        )
        made = make_priors(recipe)
        assert len(server.asked) == 4
        make_priors(recipe)
        assert len(server.asked) == 4
    rows = list(made.descriptions.rows())
    assert {(row["model_id"], row["model_revision"], row["status"]) for row in rows} == {
        ("owner/video-model", "r7", "ok")
    }
    assert sorted(row["prompt"] for row in rows) == sorted(asked.prompt for asked in server.asked)
    assert server.url not in str(made.descriptions.recipe) + str(rows)
    assert json.loads(rows[0]["generation"])["server"] == {"jpeg_quality": 90, "say_times": True}
