// Every deed of admin, libvirt and accidents on iptables-legacy, with a real libvirtd and real packets.

import { describeScenarios } from './scenario-suite.ts';

describeScenarios('legacy');
