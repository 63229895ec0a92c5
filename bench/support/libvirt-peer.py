#!/usr/bin/env python3
"""A long-lived libvirt connection, driven by one command a line on stdin; answers one JSON line each.

Commands: `list` (all domains with their state), `start|destroy|suspend|resume NAME`, `stats` (getAllDomainStats of active domains). Times are milliseconds inside this process.
"""
import json, sys, time
import libvirt

libvirt.registerErrorHandler(lambda context, error: None, None)
connection = libvirt.open(sys.argv[1])
print(json.dumps({"ready": True}), flush=True)
for line in sys.stdin:
    verb, _, argument = line.strip().partition(" ")
    before = time.perf_counter()
    if verb == "list":
        count = len([domain.info() for domain in connection.listAllDomains()])
    elif verb == "start":
        connection.lookupByName(argument).create()
        count = 1
    elif verb == "destroy":
        connection.lookupByName(argument).destroy()
        count = 1
    elif verb == "suspend":
        connection.lookupByName(argument).suspend()
        count = 1
    elif verb == "resume":
        connection.lookupByName(argument).resume()
        count = 1
    elif verb == "stats":
        count = len(connection.getAllDomainStats(0, libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_ACTIVE))
    else:
        count = -1
    print(json.dumps({"ms": (time.perf_counter() - before) * 1000, "count": count}), flush=True)
