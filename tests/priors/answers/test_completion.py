"""Chat completions of every shape: a text where there is one, else what the server says."""

import json

import pytest

from priors.answers.completion import Completion, NoCompletion, read_completion

TEXT = "A person dives."
USAGE = {"prompt_tokens": 5, "completion_tokens": 3}


def body(message=None, usage=USAGE, finish="stop", **more) -> bytes:
    """An answer with this message."""
    choice = {"index": 0, "message": message, "finish_reason": finish}
    return json.dumps({"choices": [choice], "usage": usage, **more}).encode()


@pytest.mark.parametrize(
    "content",
    [
        TEXT,
        [{"type": "text", "text": TEXT}],
        [TEXT],
        {"text": TEXT},
        {"type": "text", "text": {"value": TEXT}},
        [[{"type": "output_text", "text": TEXT}], {"type": "image_url", "image_url": {"url": "x"}}, 7, None],
    ],
)
def test_content_of_any_shape(content):
    """Its text is found."""
    assert read_completion(body({"content": content})) == Completion(TEXT, "", 5, 3, "eos")


@pytest.mark.parametrize(
    "message",
    [
        {"content": TEXT, "reasoning_content": "hm"},
        {"content": TEXT, "reasoning": "hm", "reasoning_content": "hm", "reasoning_details": [{"text": "hm"}]},
        {"content": TEXT, "thinking_blocks": [{"type": "thinking", "thinking": "hm"}]},
        {
            "content": [
                {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
                {"type": "text", "text": TEXT},
            ]
        },
        {"content": [{"type": "reasoning", "text": "hm"}, TEXT]},
        {"content": [{"text": "hm", "thought": True}, {"text": TEXT}]},
    ],
)
def test_reasoning_that_stands_apart(message):
    """In a part or in a field, once or under several names."""
    assert read_completion(body(message)) == Completion(TEXT, "hm", 5, 3, "eos")


@pytest.mark.parametrize(
    ("usage", "counts"),
    [
        ({"prompt_tokens": 5}, (5, None)),
        ({"prompt_tokens": 5.0, "completion_tokens": 3.5}, (5, None)),
        ({"input_tokens": 5, "output_tokens": 3}, (5, 3)),
        ({"prompt_tokens": "5", "completion_tokens": True}, (None, None)),
        ({"prompt_tokens": -1, "completion_tokens": 2**40}, (None, None)),
        ({"prompt_tokens": float("inf"), "completion_tokens": float("nan")}, (None, None)),
        ({"prompt_tokens": [5], "completion_tokens": {}}, (None, None)),
        *((odd, (None, None)) for odd in (None, [], "5", 5, [5, 3])),
    ],
)
def test_unknown_counts_are_null(usage, counts):
    """And the text is kept."""
    found = read_completion(body({"content": TEXT}, usage))
    assert (found.text, found.prompt_tokens, found.new_tokens) == (TEXT, *counts)


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("stop", "eos"),
        ("EOS_TOKEN", "eos"),
        ("max_tokens", "length"),
        ({"type": "length"}, "length"),
        (None, None),
        (3, None),
    ],
)
def test_how_servers_name_an_end(said, meant):
    """In their own words; one that they do not say is unknown."""
    assert read_completion(body({"content": TEXT}, finish=said)).finish_reason == meant


@pytest.mark.parametrize(
    "document",
    [
        {"choices": [{"text": TEXT}]},
        {"choices": [{"message": TEXT}]},
        {"choices": [{"message": [{"role": "assistant", "content": TEXT}]}]},
        {"choices": [{"delta": {"content": TEXT}, "message": None}]},
        {"choices": {"message": {"content": TEXT}}},
        {"choices": [TEXT]},
    ],
)
def test_choices_of_any_shape(document):
    """A text that is there is kept."""
    assert read_completion(json.dumps(document).encode()).text == TEXT


@pytest.mark.parametrize(
    ("answer", "told", "again"),
    [
        (b"", "the server's answer is empty", True),
        (b"null", "the server's answer is empty", True),
        (b"<html><head><title>Log in</title></head><body>log in&nbsp;first</body></html>", "log in first", True),
        (b'{"choices": [', "no chat completion: {", True),
        (b'{"choices": []}', '"choices": []', True),
        (b'{"error": {"message": "Provider returned error", "code": 502}, "choices": null}', "error (code 502)", True),
        (b"[" * 100_000, "no chat completion", True),
        (body([]), '"message": []', True),
        (body({"content": 7}), 'no text: {"content": 7}', False),
        (body({"content": [{"type": "image_url"}]}), "no text", False),
        (body({"content": None, "refusal": "I cannot."}), "the model refuses: I cannot.", False),
        (body({"content": [{"type": "refusal", "refusal": "No."}]}), "the model refuses: No.", False),
        (body({"content": TEXT}, finish="content_filter"), "content filter", False),
        (body({"content": TEXT}, finish="abort"), "'abort'", False),
    ],
)
def test_what_is_no_completion_says_what_it_is(answer, told, again):
    """Short, on one line; and whether it is worth another attempt."""
    with pytest.raises(NoCompletion) as caught:
        read_completion(answer)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400
    assert caught.value.again == again


def test_texts_are_unicode():
    """A half of a letter beyond 16 bits, bytes of another encoding, a byte order mark."""
    assert read_completion(body({"content": "a \ud83d"})).text == "a \ufffd"
    assert read_completion(body({"content": "a \ud83d\ude00"})).text == "a 😀"
    assert read_completion(b"\xef\xbb\xbf" + body({"content": TEXT})).text == TEXT
    assert read_completion(body({"content": "x"}).replace(b'"x"', b'"caf\xe9"')).text == "caf\ufffd"
