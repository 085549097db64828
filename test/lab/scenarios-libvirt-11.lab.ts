// Every deed of admin, libvirt and accidents beside libvirt 11 with its iptables backend, on Debian 13's iptables-nft.

import { beforeAll } from 'vitest';

import { debian13Root, DEBIAN_13_TIMEOUT_MS } from './debian-13.ts';
import { describeScenarios } from './scenario-suite.ts';

beforeAll(() => debian13Root(), DEBIAN_13_TIMEOUT_MS);

describeScenarios('nft', { libvirt: '11', backend: 'iptables' });
