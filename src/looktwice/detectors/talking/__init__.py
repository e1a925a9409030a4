"""What detectors that talk share: from views to a dialogue, from replies to a score, a map and reasons.

`config` says what can be set, `pictures` what is shown, `inquiry` what is asked, `maps` where an answer points,
`selfcheck` whether it holds, `seen` how a conversation goes on. Detectors that use it: `customizable_vlm`, `explained`.
"""
