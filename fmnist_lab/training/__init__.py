"""How a trial is trained, and what it leaves in its folder while it trains."""
