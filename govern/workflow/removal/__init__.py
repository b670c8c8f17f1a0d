"""From a policy to an edited model: plan, apply, reproduce, export, prune."""
