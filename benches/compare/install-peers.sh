#!/bin/sh
# Installs the peers of `compare` from Debian, and stops the services that the packages start: the bench runs its own, on the loopback.
set -eu
apt-get update
apt-get install -y --no-install-recommends prometheus prometheus-alertmanager prometheus-node-exporter prometheus-pushgateway victoria-metrics
for unit in prometheus prometheus-alertmanager prometheus-node-exporter prometheus-pushgateway victoria-metrics; do
    if [ -d /run/systemd/system ]; then
        systemctl disable --now "$unit" || true
    fi
done
