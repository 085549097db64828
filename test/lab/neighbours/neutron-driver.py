#!/usr/bin/python3
# Drives neutron's own IptablesFirewallDriver in the current network namespace:  neutron-driver.py one-port|two-ports|no-port
# Not neutron.py: that name would hide neutron itself.
# No agent, no message bus, no database. Its privileged parts run in this process, which is root.
import os
import sys

STATE = '/run/lab/neutron'
verb = sys.argv[1]
# neutron names its chains after the program's name: neutron-linuxbri-...
sys.argv = ['/usr/bin/neutron-linuxbridge-agent']

import eventlet  # noqa: E402
eventlet.monkey_patch()
from oslo_config import cfg  # noqa: E402
from neutron.common import config as _common_config  # noqa: E402,F401
from neutron.conf.agent import common as agent_conf, securitygroups_rpc  # noqa: E402
from neutron import privileged  # noqa: E402

privileged.default.set_client_mode(False)
os.makedirs(STATE, exist_ok=True)
cfg.CONF([])
securitygroups_rpc.register_securitygroups_opts()
agent_conf.register_root_helper(cfg.CONF)
agent_conf.register_iptables_opts(cfg.CONF)
cfg.CONF.set_override('lock_path', STATE, group='oslo_concurrency')
cfg.CONF.set_override('enable_ipset', False, group='SECURITYGROUP')

from neutron.agent.linux import iptables_firewall  # noqa: E402


def port(number):
    return {
        'device': 'tap%08x-0%d' % (0xabcdef00 + number, number),
        'id': 'abcdef0%d-0%d11-4222-8333-444455556666' % (number, number),
        'mac_address': 'fa:16:3e:00:00:0%d' % number,
        'network_id': 'lab',
        'fixed_ips': ['10.20.0.1%d' % number],
        'allowed_address_pairs': [],
        'security_groups': ['lab'],
        'security_group_rules': [
            {'ethertype': 'IPv4', 'direction': 'egress'},
            {'ethertype': 'IPv6', 'direction': 'egress'},
            {'ethertype': 'IPv4', 'direction': 'ingress', 'protocol': 'tcp', 'port_range_min': 22, 'port_range_max': 22},
        ],
        'security_group_source_groups': [],
        'device_owner': 'compute:nova',
        'zone_id': number,
    }


driver = iptables_firewall.IptablesFirewallDriver()
if verb == 'no-port':
    for number in (1, 2):
        driver.filtered_ports[port(number)['device']] = port(number)
    for number in (1, 2):
        driver.remove_port_filter(port(number))
else:
    driver.filter_defer_apply_on()
    for number in (1, 2) if verb == 'two-ports' else (1,):
        driver.prepare_port_filter(port(number))
    driver.filter_defer_apply_off()
