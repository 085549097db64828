// The rules that keep guests open, as passes keep them: once, for what runs, in merge mode at rest, and only with the option.

import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { init } from '../../src/verbs/init.ts';
import { mend } from '../../src/verbs/mend.ts';
import { openWorld, unlessRefused, type LiveWorld } from '../verbs/fixture.ts';

const RULES = `*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT
-A INPUT -j REJECT --reject-with icmp-port-unreachable
COMMIT
`;
/** Of libvirt's nftables backend: nothing of its is wanted in iptables' tables. */
const NETWORK = readFileSync(new URL('../captures/libvirt-nft/nat.run-status.xml', import.meta.url), 'utf8');
const FILE = '/run/libvirt/network/default.xml';

/** The fake kernel has no native table to list; nor does it know of addresses and routes. */
async function world(openGuests: boolean): Promise<LiveWorld> {
  const opened = await openWorld({ openGuests });
  const { host } = opened.context;
  const exec: typeof host.exec = async (request) =>
    request.file === 'nft' && request.args?.includes('ruleset')
      ? { ...(await host.exec({ file: 'iptables-save', args: [] })), stdout: '', stderr: '', exitCode: 0 }
      : host.exec(request);
  const context = { ...opened.context, host: { ...host, exec } };
  await opened.run('iptables-restore', RULES);
  opened.fake.files.texts.set(FILE, NETWORK);
  unlessRefused(await init({ ...opened, context }, { from: [], place: 'as-found', force: false, dryRun: false }));
  return { ...opened, context };
}

const now = async (at: LiveWorld, dryRun = false): Promise<string[]> => {
  unlessRefused(await mend(at, { dryRun, trigger: 'hand', by: ['hand'] }));
  return (await at.chain('INPUT')).filter((rule) => rule.includes('mendwall:open-guests'));
};

it('are written once, above the catch-all, and go with the network', async () => {
  const at = await world(true);
  expect(await now(at, true)).toEqual([]);
  expect(await now(at)).toHaveLength(3);
  const rules = await at.chain('INPUT');
  expect(rules.map((rule) => rule.includes('mendwall:'))).toEqual([false, true, true, true, false]);
  const marks = [...at.context.ownSentinels];
  expect(await now(at)).toHaveLength(3);
  expect([...at.context.ownSentinels]).toEqual(marks);
  await at.fake.files.remove(FILE);
  expect(await now(at)).toEqual([]);
});

it('are taken out with the option off, and no pass without it writes any', async () => {
  const at = await world(true);
  expect(await now(at)).toHaveLength(3);
  expect(await now({ ...at, context: { ...at.context, openGuests: { wanted: false, failed: undefined } } })).toEqual(
    [],
  );
  expect(await now(await world(false))).toEqual([]);
});
