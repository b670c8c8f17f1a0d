"""What a model knows: question sets, the lm-eval bridge, answers, bounds on what they say."""
