"""Green-LLM steers LLM inference between data centres by cost, carbon, water and delay.

The data path, each line a package:

    resources      ``store`` reads them, ``api`` checks and parses them    -> ``domain.request``
    admission      ``services.admission`` says who takes part, and why not -> one request per policy
    signals        ``signals`` fills the horizon from each site's chain    -> ``domain.series``
    instance       ``services.assemble`` turns both into numbers           -> ``domain.instance``
    plan           ``optimizer`` solves, finishes, verifies                -> ``domain.plan``
    weights        ``domain.weights`` and ``domain.guardrails``            -> integers per rule and back-end
    routes         ``routing`` writes the weights and nothing else
    truth          ``observability`` and ``api.status`` say what is in force, and why

``services.planning.reconcile`` is that path in one function.
"""
