// Every deed of admin, libvirt and accidents on iptables-nft, with a real libvirtd and real packets.

import { describeScenarios } from './scenario-suite.ts';

describeScenarios('nft');
