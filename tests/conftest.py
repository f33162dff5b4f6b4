"""Settings of all tests; being here also lets them import `worlds`."""

from hypothesis import settings

# No deadline: the machine is shared. The same examples in every run, so that a red
# build is red again on the next machine.
settings.register_profile("sail", deadline=None, max_examples=60, derandomize=True, database=None)
settings.load_profile("sail")
