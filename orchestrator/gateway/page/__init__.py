"""The live page: static files that need nothing else, and the one state that they draw.

`state.py` says what there is to see, `routes.py` serves it at `/ui`. The page
is for whoever operates the cluster: it shows sizes, places, times and reasons,
and never a prompt or an answer.
"""
