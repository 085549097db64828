// A rule that iptables prints otherwise than it stands in the snapshot: another version of iptables saved it.

import { expect, it } from 'vitest';
import { runPass } from '../src/pass.ts';
import type { UserPart } from '../src/ruleset/user-part.ts';
import { handRequest } from '../src/verbs/hand.ts';
import type { BridgeNetwork } from './generate/libvirt-rules.ts';
import { loadText, openRoom, type Room } from './guard/machine-room.ts';
import { libvirtRulesIn, libvirtRulesOf } from './guard/user-word.ts';

const NEW = '-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT';
const OLD = '-A INPUT -p tcp --dport 22 -j ACCEPT';
const USER = `*filter
:INPUT DROP [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -i lo -j ACCEPT
${NEW}
-A INPUT -s 192.0.2.0/24 -j DROP
COMMIT
`;

function respell(part: UserPart): UserPart {
  const tables = [...part.tables.values()].map((table) => {
    const chains = [...table.chains.values()].map((chain) => ({
      ...chain,
      items: chain.items.map((item) => (item.kind === 'rule' && item.text === NEW ? { ...item, text: OLD } : item)),
    }));
    return { ...table, chains: new Map(chains.map((chain) => [chain.name, chain])) };
  });
  return { ...part, tables: new Map(tables.map((table) => [table.name, table])) };
}

async function guarded(): Promise<Room> {
  const room = await openRoom({ user: USER });
  const { memory } = room.context();
  memory.snapshot = { ...memory.snapshot, ip: respell(memory.snapshot.ip) };
  memory.wish = { ...memory.wish, ip: respell(memory.wish.ip) };
  return room;
}

const rulesOf = (room: Room): string[] =>
  room.machine.kernel
    .save('ip')
    .split('\n')
    .filter((line) => line.startsWith('-A INPUT'));

it('comes back once after a flush, in its place', async () => {
  const room = await guarded();
  const before = rulesOf(room);
  room.machine.kernel.foreign(['iptables', '-F']);
  const outcome = await runPass(room.context(), handRequest('merge'));
  expect(rulesOf(room)).toEqual(before);
  expect(outcome.kind).toBe('mended');
  expect(await runPass(room.context(), handRequest('merge'))).toMatchObject({ kind: 'unchanged', changed: false });
});

it('comes back once after a restore by hand', async () => {
  const room = await guarded();
  const before = rulesOf(room);
  loadText(
    room.machine,
    'iptables-restore',
    '*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\nCOMMIT\n',
  );
  const outcome = await runPass(room.context(), handRequest('merge', { authority: 'snapshot' }));
  expect(rulesOf(room)).toEqual(before);
  expect(outcome.kind).toBe('mended');
});

it('comes back once after a flush that was heard', async () => {
  const room = await guarded();
  const before = rulesOf(room);
  await room.start();
  await room.idle(1000);
  room.machine.kernel.foreign(['iptables', '-F']);
  await room.idle(20_000);
  expect(rulesOf(room)).toEqual(before);
});

it('of libvirt’s comes back once, too, when libvirt’s part is put back by text', async () => {
  const network: BridgeNetwork = { name: 'default', bridge: 'virbr0', subnet: '192.168.122.0/24' };
  const room = await openRoom({ user: USER, defined: [network], before: (libvirt) => [libvirt.netStart(network)] });
  await room.start();
  await room.idle(1000);
  const { memory } = room.context();
  const filter = new Map(memory.known.ip?.tables.get('filter'));
  const input = filter.get('LIBVIRT_INP');
  if (input === undefined || memory.known.ip === undefined) throw new Error('no part of libvirt’s is known');
  const old = input.rules.map((rule) => ({ ...rule, text: rule.text.replace('-p udp -m udp', '-p udp') }));
  filter.set('LIBVIRT_INP', { ...input, rules: old });
  memory.known = {
    ...memory.known,
    ip: { family: 'ip', tables: new Map(memory.known.ip.tables).set('filter', filter) },
  };
  room.machine.kernel.foreign(['iptables', '-F']);
  await room.idle(20_000);
  expect(libvirtRulesIn(room.machine.kernel.save('ip'))).toEqual(libvirtRulesOf([network]));
});
