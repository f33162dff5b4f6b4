"""The ordinary features of any ranker: counts, rates, recency, category, price.

Every arm has them, so that a lift of content is a lift over a ranker that already
knows what is popular, who is active and which categories a user takes
(`judge_facts.md` 5: a weak baseline doubles the apparent lift).
"""
