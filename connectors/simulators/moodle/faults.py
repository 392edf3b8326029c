"""The faults a test can ask a simulated Moodle for.

The shapes are those observed on Moodle 4.5.6 behind nginx (`contracts/moodle-4.5`, Faults).
"""

KINDS = (
    "timeout",  # the answer never comes; the connection hangs for `seconds`, nothing is committed
    "timeout_after_commit",  # the same, but the work was done
    "reset_before",  # the connection is reset before anything happens
    "reset_after_commit",  # the work is done and the connection reset before the answer
    "cut_json",  # the work is done, the body is shorter than announced
    "http_502",  # the gateway lost its worker: HTML
    "http_504",  # the gateway gave up waiting: HTML; nothing is committed
    "http_503",  # maintenance page, HTML
    "sitemaintenance",  # maintenance mode, HTTP 200
    "http_429",  # too many requests, Retry-After `seconds`
    "invalidtoken",  # the token is revoked, from this request on unless `count` says otherwise
    "empty_500",  # PHP died before doing anything
    "killed_mid_batch",  # PHP died after `after_writes` writes were committed: 500, empty
    "dbconnectionfailed",  # HTTP 200, the database is down
    "empty_403",  # web services are switched off
    "deadlock",  # HTTP 200 dmlwriteexception, nothing committed
    "oversize_xml",  # HTTP 200, XML invalidtoken: what a body over post_max_size becomes
    "accessexception",  # the token's service or address does not allow the call
)


def maintenance_page(sitename: str) -> str:
    """Return the page of a site taken down from the command line."""
    return (
        '<!DOCTYPE html>\n<html  lang="en" xml:lang="en">\n    <head>\n'
        '        <meta http-equiv="Content-Type" content="text/html; charset=utf-8" />\n'
        f"        <title>{sitename} under maintenance</title>\n    </head>\n    <body>\n"
        f"        <h1>{sitename} under maintenance</h1>\n"
        "        <div class='alert-danger'>"
        "The site is undergoing maintenance and is currently not available</div>\n"
        "    </body>\n</html>\n"
    )


XML_REFUSAL = (
    '<?xml version="1.0" encoding="UTF-8" ?>\n<EXCEPTION class="core\\exception\\moodle_exception">\n'
    "<ERRORCODE>invalidtoken</ERRORCODE>\n<MESSAGE>Invalid token - token not found</MESSAGE>\n</EXCEPTION>\n"
)
