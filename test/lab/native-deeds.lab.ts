// Deeds of admin, libvirt and accidents beside libvirt 11's nftables backend, the user on both engines: a random sequence of
// them, after each of which everything is as before. Not the list of scenarios.lab.ts: its rules close the host to guests,
// which with this backend nothing opens again. LAB_FULL=1: ten sequences; otherwise none, it takes 2 minutes each.
// SEED=n repeats one.

import { beforeAll, describe, expect, it } from 'vitest';

import { SEED } from '../generate/seed.ts';
import {
  firewalldReloaded,
  flush,
  flushAndDeleteChains,
  flushIp6,
  nftFlushRuleset,
  reloadLibvirtd,
  restartLibvirtd,
  restartNetwork,
} from './actors.ts';
import { debian13Root, DEBIAN_13_TIMEOUT_MS } from './debian-13.ts';
import type { Hypervisor } from './host.ts';
import { driftOf, expectStands, libvirtRules, standing, upNativeStage, USER_NATIVE } from './native-stage.ts';
import { DEFAULT_NETWORK, furtherNetwork } from './networks.ts';
import { seededRandom } from './scenario-suite.ts';

const FULL = process.env['LAB_FULL'] === '1';
const SEQUENCE_LENGTH = 20;

type Deed = readonly [name: string, run: (hypervisor: Hypervisor) => Promise<unknown>];

const DEEDS: readonly Deed[] = [
  ['libvirtd restarts', restartLibvirtd],
  ['libvirtd gets SIGHUP', reloadLibvirtd],
  ['firewalld says Reloaded', firewalldReloaded],
  ['net-destroy and net-start', (hypervisor) => restartNetwork(hypervisor)],
  ['iptables -F', flush],
  ['iptables -F; iptables -X', flushAndDeleteChains],
  ['ip6tables -F', flushIp6],
  ['nft flush ruleset', nftFlushRuleset],
  ['nft flush table', (hypervisor) => hypervisor.sh('nft flush table inet filter')],
  ['nft flush chain', (hypervisor) => hypervisor.sh('nft flush chain ip6 edge input')],
  ['nft -f of the same file', (hypervisor) => hypervisor.sh('nft -f -', { input: `flush ruleset\n${USER_NATIVE}` })],
  [
    "libvirt's table deleted",
    (hypervisor) => hypervisor.sh('nft delete table ip libvirt_network; nft delete table ip6 libvirt_network'),
  ],
];

beforeAll(() => debian13Root(), DEBIAN_13_TIMEOUT_MS);

describe.skipIf(!FULL)('libvirt 11 with the nftables backend', () => {
  it.each(Array.from({ length: 10 }, (_, round) => SEED + round))(
    `a random sequence of ${SEQUENCE_LENGTH} deeds ends as it must after each of them, SEED=%i`,
    async (seed) => {
      const random = seededRandom(seed);
      const stage = await upNativeStage([DEFAULT_NETWORK, furtherNetwork(1)]);
      try {
        const users = await standing(stage.hypervisor);
        const libvirt = await libvirtRules(stage.hypervisor);
        for (let number = 1; number <= SEQUENCE_LENGTH; number++) {
          const [name, run] = DEEDS[Math.floor(random() * DEEDS.length)]!;
          console.info(`SEED=${seed}, ${number}: ${name}`);
          await run(stage.hypervisor);
          // The fifth restore within two minutes and each one after it waits longer, so that two guards do not fight.
          await stage.guard.idle(90_000);
          await expectStands(stage, users, libvirt, `${name} (number ${number} of SEED=${seed})`);
          expect(await driftOf(stage), name).toEqual([]);
        }
      } finally {
        await stage.hypervisor.down();
      }
    },
    600_000,
  );
});
