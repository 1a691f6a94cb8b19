"""What the public code of the hosts does differently, defects included, so that its published figures can be repeated.

Hosts and localization have the corrected form; what the public code does instead stands here, with the reason.

`official` is the word for it in three places, and means the same in all: "as the method's public code does it".
The field `official` of a two-stream host's recipe (true or false) is about its network and losses (`forms`). The field
`official` of `LocalizeRecipe` names a `PublicFamily`, the code whose steps from T-CAM to detections are repeated
(`localize`). The option `--official` of `eval` names a `PublicMethod`, and stands for that family with the settings
that the method's code has for THUMOS14 (`official_recipe`).
"""
