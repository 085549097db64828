// Every deed of admin, libvirt and accidents beside libvirt 11 with its nftables backend: the user in `inet` tables, in `ip` and
// `ip6` tables and in iptables-nft at the same time.

import { beforeAll } from 'vitest';

import { debian13Root, DEBIAN_13_TIMEOUT_MS } from './debian-13.ts';
import { describeScenarios } from './scenario-suite.ts';

beforeAll(() => debian13Root(), DEBIAN_13_TIMEOUT_MS);

describeScenarios('nft', { libvirt: '11', backend: 'nftables' });
