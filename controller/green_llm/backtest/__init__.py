"""Back-tests: recorded days through ``services.planning.reconcile``, charged with what really came.

world      a directory's resources, routes and recordings, at rest  -> can be sent to another process
replay     decisions, interval by interval, from what was known then
actuals    what came, seen afterwards
tally      what decisions took of it
bounds     what nobody could have gone below
savings    differences, and how sure they are
"""
