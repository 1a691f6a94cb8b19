"""The prompts are the paper's, to the letter."""

from priors.run.prompts import render, template


def test_the_prompts_are_verbatim():
    """Frozen here: a changed prompt is another set of descriptions."""
    begin = "This video contains the actions of High Jump. Please describe the action of High Jump"
    assert render("key", "High Jump") == f"{begin} with one sentence."
    assert render("complete", "High Jump") == f"{begin} in detail."
    assert template("key").count("{cls}") == template("complete").count("{cls}") == 2


def test_a_class_name_goes_in_as_it_is():
    """Braces and backslashes are no syntax."""
    assert r"actions of {x} \1 {cls}." in render("key", r"{x} \1 {cls}")
