"""Behaviour suites and naive oracles, shipped so that users can test their own parts.

`encoder_suite` holds any text encoder against what the jobs rely on,
`match_feature_suite` any match feature; `oracles` has the features of this package
once more, as plain loops. They need no test framework: a broken promise raises
`AssertionError`, which names the promise.
"""
