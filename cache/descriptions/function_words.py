"""English function words: in a description they say nothing about the action."""

_WORDS = """
a an the this that these those some any each both no not and or but nor so yet if then than as while when where until
about above across after against along around at before behind below between by down during for from in into near of
off on onto out over through to under up with within without here there be been being am is are was were do does did
has have had having can could may might must shall should will would it its he him his she her hers they them their
theirs we us our you your i me my who whom whose which what how very too also just only
"""
FUNCTION_WORDS = frozenset(_WORDS.split())
