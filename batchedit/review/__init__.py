"""
Looking at what a night has made: a page on this machine, or a folder for somebody else's.

    ledger --> sheet (cards, pairs) --> app (behind guard) --> serving        live, decisions go to the ledger at once
                       |                                 \\--> thumbnailer --> thumb_process
                       \\--> handout                                           a folder; decisions come back as a file

Nothing here can spend money: there is no way from these modules to the pool.
"""
