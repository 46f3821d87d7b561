#!/usr/bin/env bash
# Names and addresses that the lab's hosts share. To be sourced.
# shellcheck disable=SC2034 # used by those who source it

# TEST-NET-2: reserved for documentation, so that it is nobody's network.
network=198.51.100
machine_address=$network.1
bridge=mxlab0
port=8080

# What runs on this machine, of all checkouts.
runtime=/run/matrix-lab
