"""From a policy to an edited model: init, policy, plan, apply, reproduce, export, prune, mirror."""
