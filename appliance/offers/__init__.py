"""What a machine is offered: the policy, the loaders there are for it, and the explanation of both."""
