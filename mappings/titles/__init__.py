"""Legacy job titles: normalise, levels, candidates, confidence, review, decisions."""
